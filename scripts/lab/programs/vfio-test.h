/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the lab's VFIO tests share: expectations, and the kernel's trace.
 */
#ifndef VFIO_TEST_H
#define VFIO_TEST_H

#include <stdarg.h>

#include "vfio-lab.h"

#define TRACING	"/sys/kernel/tracing/"

/* Expectations that were not met: the exit status */
static int failures;

static inline void __printf(2, 3) expect(bool good, const char *fmt, ...)
{
	va_list ap;

	if (good)
		return;
	failures++;
	printf("expected: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
}

static inline bool trace_write(const char *file, const char *val)
{
	char path[128];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), TRACING "%s", file);
	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = write(fd, val, strlen(val)) >= 0;
	close(fd);
	return ok;
}

static inline void trace_must_write(const char *file, const char *val)
{
	if (!trace_write(file, val))
		errx(1, TRACING "%s: %m: no event tracing in this kernel, or no kprobes",
		     file);
}

/* What is truncated is forgotten. */
static inline void trace_restart(void)
{
	trace_must_write("tracing_on", "0");
	trace_must_write("trace", "");
	trace_must_write("tracing_on", "1");
}

/* The trace up to now, to be closed by the caller; nothing more is added to it. */
static inline FILE *trace_open(void)
{
	FILE *f;

	trace_must_write("tracing_on", "0");
	f = fopen(TRACING "trace", "re");
	if (!f)
		errx(1, TRACING "trace: %m");
	return f;
}

/* No events and no probes any more */
static inline void trace_stop(void)
{
	trace_must_write("events/enable", "0");
	trace_must_write("kprobe_events", "");
}

#endif /* VFIO_TEST_H */

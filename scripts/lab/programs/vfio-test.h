/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the lab's VFIO tests share: the kernel's test harness, the devices that
 * the script has bound, and the kernel's trace.
 */
#ifndef VFIO_TEST_H
#define VFIO_TEST_H

#define _GNU_SOURCE
#include "vfio-lab.h"

/* Of the kernel's tools/testing/selftests */
#include <kselftest_harness.h>

/* An emulated machine takes its time; run.sh ends a run that never ends. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	1200

#define TRACING	"/sys/kernel/tracing/"

/* The address of a device that the script has in its environment */
static inline const char *env_device(const char *name)
{
	const char *device = getenv(name);

	if (!device || !*device)
		errx(1, "no %s in the environment: a device's address, bound to vfio-pci",
		     name);
	return device;
}

/* The IOMMU group of a device on the PCI or platform bus */
static inline const char *group_of(const char *device)
{
	static char target[256];
	char path[128];
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/bus/%s/devices/%s/iommu_group",
		 strchr(device, ':') ? "pci" : "platform", device);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		errx(1, "%s: %m: is there a device %s, bound to a VFIO driver?", path,
		     device);
	target[len] = '\0';
	return strrchr(target, '/') + 1;
}

static inline bool write_file(const char *path, const char *val)
{
	bool ok;
	int fd;

	fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
	if (fd < 0)
		return false;
	ok = write(fd, val, strlen(val)) >= 0;
	close(fd);
	return ok;
}

static inline bool trace_write(const char *file, const char *val)
{
	char path[128];

	snprintf(path, sizeof(path), TRACING "%s", file);
	return write_file(path, val);
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

/*
 * The events of @name that this process causes. Not by set_event_pid: that patches
 * the scheduler, and QEMU 7.2 lets the other CPU run into a breakpoint that is gone.
 */
static inline bool trace_enable(const char *name)
{
	char file[64], filter[32];

	snprintf(filter, sizeof(filter), "common_pid == %d", getpid());
	snprintf(file, sizeof(file), "events/%s/filter", name);
	if (!trace_write(file, filter))
		return false;
	snprintf(file, sizeof(file), "events/%s/enable", name);
	return trace_write(file, "1");
}

/* Trace what this process does, with @probes and no others. */
static inline void trace_start(const char *probes)
{
	trace_stop();
	trace_must_write("kprobe_events", probes);
	if (!trace_enable("kprobes"))
		errx(1, TRACING "events/kprobes: %m");
	trace_restart();
}

#endif /* VFIO_TEST_H */

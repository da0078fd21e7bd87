/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where the kernel spends the time of one system call: the timer takes a sample
 * every PROFILE_NS, because an emulated machine has neither counters nor NMIs.
 * Time with interrupts off shows at the place where they are enabled again.
 */
#ifndef PROFILE_H
#define PROFILE_H

#include <linux/perf_event.h>
#include <sys/syscall.h>

#include "vfio-lab.h"

#define PROFILE_NS	50000
/* 16 bytes for a sample: enough for 26 s */
#define PROFILE_BYTES	(8 * SZ_1M)

struct profile {
	int fd;
	struct perf_event_mmap_page *ring;
};

struct symbol {
	__u64 addr;
	unsigned long samples;
	char name[48];
};

static inline void profile_start(struct profile *p)
{
	struct perf_event_attr attr = {
		.size = sizeof(attr),
		.type = PERF_TYPE_SOFTWARE,
		.config = PERF_COUNT_SW_CPU_CLOCK,
		.sample_period = PROFILE_NS,
		.sample_type = PERF_SAMPLE_IP,
		.exclude_user = 1,
	};

	p->fd = syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	if (p->fd < 0)
		errx(1, "perf_event_open: %m: the kernel needs CONFIG_PERF_EVENTS=y");
	p->ring = mmap(NULL, SZ_4K + PROFILE_BYTES, PROT_READ | PROT_WRITE,
		       MAP_SHARED, p->fd, 0);
	if (p->ring == MAP_FAILED)
		errx(1, "mmap of perf's ring: %m");
}

static inline int symbol_by_addr(const void *a, const void *b)
{
	const struct symbol *s = a, *t = b;

	return (s->addr > t->addr) - (s->addr < t->addr);
}

static inline int symbol_by_samples(const void *a, const void *b)
{
	const struct symbol *s = a, *t = b;

	return (s->samples < t->samples) - (s->samples > t->samples);
}

static inline struct symbol *read_symbols(size_t *nr)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	struct symbol *sym = NULL;
	char line[256], type;

	*nr = 0;
	while (f && fgets(line, sizeof(line), f)) {
		if (!(*nr & (*nr - 1)))
			sym = realloc(sym, (*nr ? *nr * 2 : 1) * sizeof(*sym));
		if (!sym)
			errx(1, "no memory for symbols");
		memset(&sym[*nr], 0, sizeof(*sym));
		if (sscanf(line, "%llx %c %47s", &sym[*nr].addr, &type,
			   sym[*nr].name) == 3 && strchr("tTwW", type))
			++*nr;
	}
	if (!*nr || !sym[*nr - 1].addr)
		errx(1, "/proc/kallsyms has no addresses");
	fclose(f);
	qsort(sym, *nr, sizeof(*sym), symbol_by_addr);
	return sym;
}

/* Prints a line for each function in the samples: how often, and its name. */
static inline void profile_stop(struct profile *p, FILE *out)
{
	__u8 *data = (__u8 *)p->ring + SZ_4K;
	struct symbol *sym;
	__u64 head, at;
	size_t nr;

	ioctl(p->fd, PERF_EVENT_IOC_DISABLE, 0);
	head = __atomic_load_n(&p->ring->data_head, __ATOMIC_ACQUIRE);
	sym = read_symbols(&nr);
	for (at = 0; at < head;) {
		struct perf_event_header *h = (void *)(data + at);
		size_t low = 0, high = nr;

		if (h->type == PERF_RECORD_SAMPLE) {
			__u64 ip = *(__u64 *)(h + 1);

			while (high - low > 1) {
				size_t mid = low + (high - low) / 2;

				if (sym[mid].addr <= ip)
					low = mid;
				else
					high = mid;
			}
			sym[low].samples++;
		}
		at += h->size;
	}
	qsort(sym, nr, sizeof(*sym), symbol_by_samples);
	for (size_t i = 0; i < nr && sym[i].samples; i++)
		fprintf(out, "%lu %s\n", sym[i].samples, sym[i].name);
	free(sym);
	munmap(p->ring, SZ_4K + PROFILE_BYTES);
	close(p->fd);
}

#endif

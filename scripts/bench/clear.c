// SPDX-License-Identifier: GPL-2.0
/*
 * How fast each method of module/stores.h clears memory on this machine, and how
 * much of a hot working set is still in the caches afterwards.
 *
 * A pass reads the hot set until it is in the caches, clears twice as much memory
 * as the last-level cache holds, reads the hot set again, and clears the rest of the
 * extent if that is larger. The extents come from a larger area, in random order,
 * and are cleared in the module's chunks and with its fences.
 *
 * Other tasks and virtual machines use the caches and the memory, too. Therefore the
 * methods take turns, one of which ("none") clears nothing; a turn is a few passes,
 * of which the best figures count; and the medians over all rounds are printed, as a
 * row of JSON for each extent and method.
 *
 * usage: clear [ROUNDS]
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "stores-user.h"

#define MIB		(1024 * 1024UL)
#define PAGE_2M		(2 * MIB)
#define GIB		(1024 * MIB)
#define HOT_SIZE	(3 * MIB / 2)
#define CACHE_LINE	64
#define MAX_ROUNDS	1000
#define MAX_METHODS	8
#define PASSES		3

struct extent {
	const char *name;
	unsigned long size;
	/* A pass over 1 GiB takes longer. */
	int rounds_div;
};

static const struct extent extents[] = {
	{ "4K", PAGE_SIZE, 1 },
	{ "2M", PAGE_2M, 1 },
	{ "1G", GIB, 5 },
	{}
};

struct pass {
	double gbps;
	double hot_us;
};

static char *mem, *hot;
/* The area, and how much of it is cleared before the hot set is read */
static unsigned long mem_size, part_size;

/* CPU time of this thread, in seconds: other tasks do not add to it. */
static double now(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t))
		err(1, "clock_gettime");
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* MemAvailable, in bytes */
static unsigned long available(void)
{
	unsigned long kib = 0;
	char line[256];
	FILE *file = fopen("/proc/meminfo", "r");

	if (!file)
		err(1, "/proc/meminfo");
	while (!kib && fgets(line, sizeof(line), file))
		sscanf(line, "MemAvailable: %lu", &kib);
	fclose(file);
	return kib << 10;
}

/* Size of the largest cache of the first CPU, or 0 if the kernel does not say */
static unsigned long llc_size(void)
{
	unsigned long kib, max = 0;
	char path[64];
	FILE *file;

	for (int i = 0; i < 8; i++) {
		snprintf(path, sizeof(path),
			 "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
		file = fopen(path, "r");
		if (!file)
			continue;
		if (fscanf(file, "%luK", &kib) == 1 && kib > max)
			max = kib;
		fclose(file);
	}
	return max << 10;
}

/* Memory that is there, in huge pages if the kernel has some; a multiple of 2 MiB */
static void *populated(unsigned long size)
{
	char *p = mmap(NULL, size + PAGE_2M, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	p += -(unsigned long)p & (PAGE_2M - 1);
	madvise(p, size, MADV_HUGEPAGE);
	memset(p, 1, size);
	return p;
}

static void read_hot(void)
{
	for (unsigned long i = 0; i < HOT_SIZE; i += CACHE_LINE)
		*(volatile char *)(hot + i);
}

/* Numbers of the extents in memory, in random order */
static unsigned int *shuffled(unsigned int n)
{
	unsigned int *order = calloc(n, sizeof(*order));
	unsigned int i, j, last;

	if (!order)
		err(1, "calloc");
	srandom(1);
	for (i = 0; i < n; i++) {
		j = random() % (i + 1);
		last = order[j];
		order[j] = i;
		if (j < i)
			order[i] = last;
	}
	return order;
}

/* Clear the extents from @next on, by @size in all. Returns how long it took. */
static double clear(const struct store_method *m, unsigned long extent,
		    unsigned long from, unsigned long size)
{
	static unsigned int *order;
	static unsigned long next, order_of;
	unsigned long unit = min(extent, part_size);
	double start;

	if (order_of != extent) {
		free(order);
		order = shuffled(mem_size / extent);
		order_of = extent;
		next = 0;
	}

	start = now();
	for (unsigned long done = from; done < from + size; done += unit) {
		store_method_clear(m, mem + order[next] * extent + done % extent,
				   unit);
		if ((done + unit) % extent == 0)
			next = (next + 1) % (mem_size / extent);
	}
	return now() - start;
}

/* Without a method nothing is cleared. */
static struct pass one_pass(const struct store_method *m, unsigned long extent)
{
	unsigned long size = part_size;
	double start, hot_took, took;

	for (int i = 0; i < 4; i++)
		read_hot();
	took = m ? clear(m, extent, 0, part_size) : 0;
	start = now();
	read_hot();
	hot_took = now() - start;
	if (m && extent > size) {
		took += clear(m, extent, size, extent - size);
		size = extent;
	}

	return (struct pass) {
		.gbps = size / took / 1e9,
		.hot_us = hot_took * 1e6,
	};
}

static struct pass one_turn(const struct store_method *m, unsigned long extent)
{
	struct pass pass, best = one_pass(m, extent);

	for (int i = 1; i < PASSES; i++) {
		pass = one_pass(m, extent);
		if (pass.gbps > best.gbps)
			best.gbps = pass.gbps;
		if (pass.hot_us < best.hot_us)
			best.hot_us = pass.hot_us;
	}
	return best;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values, int n)
{
	qsort(values, n, sizeof(*values), compare);
	return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

static void measure(const struct extent *extent, int rounds,
		    const struct store_method **methods, int nr)
{
	static double gbps[MAX_METHODS][MAX_ROUNDS];
	static double hot_us[MAX_METHODS][MAX_ROUNDS];
	bool progress = isatty(STDERR_FILENO);
	struct pass pass;

	for (int r = 0; r < rounds; r++) {
		if (progress)
			fprintf(stderr, "\rextents of %s: round %d of %d\033[K\r",
				extent->name, r + 1, rounds);
		for (int i = 0; i < nr; i++) {
			/* Each comes after each other one. */
			int k = (i + r) % nr;

			pass = one_turn(methods[k], extent->size);
			gbps[k][r] = pass.gbps;
			hot_us[k][r] = pass.hot_us;
		}
	}
	if (progress)
		fprintf(stderr, "\033[K");

	for (int k = 0; k < nr; k++) {
		const struct store_method *m = methods[k];

		if (m)
			printf("{\"method\":\"%s\",\"insn\":\"%s\",\"extent\":\"%s\",\"gbps\":%.2f",
			       m->name, m == store_methods ? clear_page_insn : m->insn,
			       extent->name, median(gbps[k], rounds));
		else
			printf("{\"method\":\"none\",\"insn\":null,\"extent\":\"%s\",\"gbps\":null",
			       extent->name);
		printf(",\"hot_us\":%.2f}\n", median(hot_us[k], rounds));
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	const struct store_method *m, *methods[MAX_METHODS];
	int rounds = argc > 1 ? atoi(argv[1]) : 15;
	int nr = 0;

	if (rounds < 1 || rounds > MAX_ROUNDS)
		errx(1, "ROUNDS is a number from 1 to %d", MAX_ROUNDS);

	choose_clear_page();
	methods[nr++] = NULL;
	for (m = store_methods; m->name; m++) {
		if (store_method_usable(m))
			methods[nr++] = m;
	}

	/* A power of two: 1 GiB is a multiple of it. */
	for (part_size = 64 * MIB; part_size < 2 * llc_size() && part_size < GIB; )
		part_size *= 2;
	mem_size = 4 * part_size;
	if (mem_size < GIB && available() > GIB + GIB / 2)
		mem_size = GIB;
	if (available() < mem_size + mem_size / 8)
		errx(1, "needs %lu MiB of free memory: stop other programs",
		     (mem_size + mem_size / 8) >> 20);

	mem = populated(mem_size);
	hot = populated(PAGE_2M);
	for (const struct extent *e = extents; e->name; e++) {
		if (e->size <= mem_size)
			measure(e, 1 + (rounds - 1) / e->rounds_div, methods, nr);
	}
	return 0;
}

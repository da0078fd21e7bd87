// SPDX-License-Identifier: GPL-2.0
/*
 * What anonymous 4K faults cost: prints the nanoseconds of LOOPS rounds of
 * touching PAGES fresh pages and giving them back. For counted time.
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>

#define PAGES	1024
#define LOOPS	20

static unsigned long long now_ns(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t))
		err(1, "clock_gettime");
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void round_trip(volatile char *mem)
{
	for (int i = 0; i < PAGES; i++)
		mem[i * 4096L] = 1;
	if (madvise((void *)mem, PAGES * 4096L, MADV_DONTNEED))
		err(1, "madvise(MADV_DONTNEED)");
}

int main(void)
{
	unsigned long long start;
	char *mem;

	mem = mmap(NULL, PAGES * 4096L, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		err(1, "mmap");
	if (madvise(mem, PAGES * 4096L, MADV_NOHUGEPAGE))
		err(1, "madvise(MADV_NOHUGEPAGE)");

	round_trip(mem); /* page tables and per-cpu lists */
	start = now_ns();
	for (int i = 0; i < LOOPS; i++)
		round_trip(mem);
	printf("%llu\n", now_ns() - start);

	return 0;
}

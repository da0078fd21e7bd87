// SPDX-License-Identifier: GPL-2.0
/*
 * The cost of anonymous page faults, for counted time.
 *
 * usage: fault-loop 4k|thp|4k-again
 *   4k		touch 64 MiB of fresh memory, a fault per 4 KiB
 *   thp	the same, a fault per 2 MiB
 *   4k-again	20 times: touch 4 MiB, 4 KiB a fault, and free them: memory that
 *		was just freed is allocated again
 *
 * Prints the nanoseconds and the number of faults.
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define MIB	(1024L * 1024)
#define THP	(2 * MIB)

static unsigned long long now_ns(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t))
		err(1, "clock_gettime");
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static void touch(volatile char *mem, long size, long step)
{
	for (long i = 0; i < size; i += step)
		mem[i] = 1;
}

static void round_trip(char *mem, long size)
{
	touch(mem, size, 4096);
	if (madvise(mem, size, MADV_DONTNEED))
		err(1, "madvise(MADV_DONTNEED)");
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	int thp = !strcmp(what, "thp"), again = !strcmp(what, "4k-again");
	long size = again ? 4 * MIB : 64 * MIB, step = thp ? THP : 4096;
	unsigned long long start;
	int rounds = 1;
	char *mem;

	if (!thp && !again && strcmp(what, "4k"))
		errx(2, "usage: fault-loop 4k|thp|4k-again");

	mem = mmap(NULL, size + THP, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		err(1, "mmap");
	mem = (char *)(((uintptr_t)mem + THP - 1) & -THP);
	if (madvise(mem, size, thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE))
		err(1, "madvise");

	if (again) {
		rounds = 20;
		round_trip(mem, size); /* page tables and per-cpu lists */
		start = now_ns();
		for (int i = 0; i < rounds; i++)
			round_trip(mem, size);
	} else {
		start = now_ns();
		touch(mem, size, step);
	}
	printf("%llu %ld\n", now_ns() - start, rounds * (size / step));

	return 0;
}

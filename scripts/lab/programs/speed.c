// SPDX-License-Identifier: GPL-2.0
/*
 * How fast a machine does the things that the start of a virtual machine consists
 * of, to compare the lab with the machine it runs on, and with a real host:
 *
 *   clear	memory that is there already, in user space
 *   fault 2M	fault in transparent huge pages: allocate and clear
 *   fault 4K	fault in 4K pages
 *   walk 4K	look each of these up in the page tables, as pinning does
 *   syscall	the shortest one
 *
 * Prints a line for each: name, figure, unit.
 */
#define _GNU_SOURCE
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ	22
#define MADV_POPULATE_WRITE	23
#endif

#define SIZE		(512UL << 20)
#define PAGE_4K		4096UL
#define PAGE_2M		(2UL << 20)
#define SYSCALLS	200000

static double now(void)
{
	struct timespec t;

	if (clock_gettime(CLOCK_MONOTONIC, &t))
		err(1, "clock_gettime");
	return t.tv_sec + t.tv_nsec / 1e9;
}

static void advise(void *mem, int advice)
{
	if (madvise(mem, SIZE, advice))
		err(1, "madvise(%d)", advice);
}

static double timed_advise(void *mem, int advice)
{
	double start = now();

	advise(mem, advice);
	return now() - start;
}

int main(void)
{
	double start, took;
	char *mem;

	mem = mmap(NULL, SIZE + PAGE_2M, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mem == MAP_FAILED)
		err(1, "mmap");
	mem += -(unsigned long)mem & (PAGE_2M - 1);

	/* Twice: at the first time the host still has to allocate the memory. */
	advise(mem, MADV_HUGEPAGE);
	advise(mem, MADV_POPULATE_WRITE);
	start = now();
	memset(mem, 0, SIZE);
	took = now() - start;
	printf("clear\t%.2f\tGB/s\n", SIZE / took / 1e9);
	advise(mem, MADV_DONTNEED);
	took = timed_advise(mem, MADV_POPULATE_WRITE);
	printf("fault 2M\t%.0f\tus\n", took * 1e6 / (SIZE / PAGE_2M));
	advise(mem, MADV_DONTNEED);

	advise(mem, MADV_NOHUGEPAGE);
	advise(mem, MADV_POPULATE_WRITE);
	advise(mem, MADV_DONTNEED);
	took = timed_advise(mem, MADV_POPULATE_WRITE);
	printf("fault 4K\t%.0f\tns\n", took * 1e9 / (SIZE / PAGE_4K));
	took = timed_advise(mem, MADV_POPULATE_READ);
	printf("walk 4K\t%.0f\tns\n", took * 1e9 / (SIZE / PAGE_4K));

	start = now();
	for (int i = 0; i < SYSCALLS; i++)
		syscall(SYS_getppid);
	printf("syscall\t%.0f\tns\n", (now() - start) * 1e9 / SYSCALLS);

	return 0;
}

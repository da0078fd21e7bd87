/* SPDX-License-Identifier: GPL-2.0 */
#ifndef STORES_USER_H
#define STORES_USER_H

/* What the kernel has for module/stores.h, in user space */
#include <err.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define SZ_16K		(16UL << 10)
#define SZ_64K		(64UL << 10)
#define PAGE_SIZE	4096UL
#define __aligned(n)	__attribute__((aligned(n)))

static inline size_t min(size_t a, size_t b)
{
	return a < b ? a : b;
}

#ifdef __x86_64__
#define X86_FEATURE_XMM2	"sse2"
#define X86_FEATURE_AVX2	"avx2"
#define X86_FEATURE_CLZERO	"clzero"
#define X86_FEATURE_MOVDIR64B	"movdir64b"
/* The kernel shows avx2 only if it saves the registers */
#define cpu_has_xfeatures(...)	true
#define kernel_fpu_begin()	do { } while (0)
#define kernel_fpu_end()	do { } while (0)

/* By the kernel's flags, because it may have disabled what the CPU has */
static bool boot_cpu_has(const char *flag)
{
	static char flags[8192];
	char word[32];
	FILE *file;

	if (!flags[0]) {
		file = fopen("/proc/cpuinfo", "r");
		if (!file)
			err(1, "/proc/cpuinfo");
		do {
			if (!fgets(flags, sizeof(flags), file))
				errx(1, "/proc/cpuinfo has no line \"flags\"");
		} while (strncmp(flags, "flags", 5));
		fclose(file);
		*strchrnul(flags, '\n') = ' ';
	}

	snprintf(word, sizeof(word), " %s ", flag);
	return strstr(flags, word);
}

/* The three methods of arch/x86/lib/clear_page_64.S */
static void clear_page_erms(void *page)
{
	unsigned long count = PAGE_SIZE;

	asm volatile("rep stosb"
		     : "+D" (page), "+c" (count) : "a" (0UL) : "memory");
}

static void clear_page_rep(void *page)
{
	unsigned long count = PAGE_SIZE / 8;

	asm volatile("rep stosq"
		     : "+D" (page), "+c" (count) : "a" (0UL) : "memory");
}

static void clear_page_orig(void *page)
{
	unsigned long count = PAGE_SIZE / 64;

	asm volatile("1:\n\t"
		     "movq %2, (%0); movq %2, 8(%0)\n\t"
		     "movq %2, 16(%0); movq %2, 24(%0)\n\t"
		     "movq %2, 32(%0); movq %2, 40(%0)\n\t"
		     "movq %2, 48(%0); movq %2, 56(%0)\n\t"
		     "add $64, %0\n\t"
		     "dec %1\n\t"
		     "jnz 1b"
		     : "+r" (page), "+r" (count) : "r" (0UL) : "cc", "memory");
}

static const char *clear_page_insn;
static void (*clear_page)(void *page);

/* The kernel's choice, see clear_page() in arch/x86/include/asm/page_64.h */
static void choose_clear_page(void)
{
	if (boot_cpu_has("erms")) {
		clear_page_insn = "rep stosb";
		clear_page = clear_page_erms;
	} else if (boot_cpu_has("rep_good")) {
		clear_page_insn = "rep stosq";
		clear_page = clear_page_rep;
	} else {
		clear_page_insn = "movq";
		clear_page = clear_page_orig;
	}
}
#endif /* __x86_64__ */

#ifdef __aarch64__
static const char *clear_page_insn = "dc zva";
static unsigned long zva;

/* As arch/arm64/lib/clear_page.S */
static void clear_page(void *page)
{
	for (unsigned long i = 0; i < PAGE_SIZE; i += zva)
		asm volatile("dc zva, %0" : : "r" (page + i) : "memory");
}

static void choose_clear_page(void)
{
	unsigned long dczid;

	asm("mrs %0, dczid_el0" : "=r" (dczid));
	if (dczid & 0x10)
		errx(1, "dc zva is not allowed here: the kernel clears by stnp, too");
	zva = 4UL << (dczid & 0xf);
}
#endif /* __aarch64__ */

#include "../../module/stores.h"

#endif /* STORES_USER_H */

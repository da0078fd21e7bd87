/* SPDX-License-Identifier: GPL-2.0 */
#ifndef _PREZERO_STORES_H
#define _PREZERO_STORES_H

/*
 * The methods to clear memory. The module, the KUnit suite prezero_stores and the
 * user-space program scripts/bench/clear.c compile this file.
 *
 * clear_page() writes through the caches: it reads or claims each line first, and
 * evicts what other tasks have there. The other methods write past the caches.
 * Their stores on x86 are weakly ordered, so they may become visible after the
 * later store that unlocks the memory. Another CPU could then allocate the memory,
 * whether or not it was marked, write to it, and lose the data to a late zero.
 * Therefore each of these methods ends with a fence, and no caller needs one.
 */
#ifdef __KERNEL__
#include <linux/cpufeature.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/string.h>
#include <linux/types.h>
#ifdef __x86_64__
#include <asm/fpu/api.h>
/* The kernel's C code does not use the FPU, and gcc does not accept its registers. */
#define STORE_CLOBBERS	"cc", "memory"
#endif
#else
/* The program that includes this file defines what the methods use. */
#define STORE_CLOBBERS	"xmm0", "cc", "memory"
#endif

/**
 * struct store_method - one way to clear memory
 * @name: as users name it; of methods of the same name the first one that the CPU
 *	has is used
 * @insn: the instruction
 * @chunk: bytes to clear at a time, with preemption disabled. It takes one to four
 *	microseconds. After a fence the CPU waits about 0.1 us for its stores, so
 *	methods with a fence, which are also faster, clear more at a time.
 * @has: does the CPU have @insn?
 * @clear: clear @len bytes at @addr, both multiples of PAGE_SIZE, @len not 0 and at
 *	most @chunk. May use the FPU, but not past its return.
 */
struct store_method {
	const char *name;
	const char *insn;
	size_t chunk;
	bool (*has)(void);
	void (*clear)(void *addr, size_t len);
};

static bool has_clear_page(void)
{
	return true;
}

static void clear_by_clear_page(void *addr, size_t len)
{
	size_t done;

	for (done = 0; done < len; done += PAGE_SIZE)
		clear_page(addr + done);
}

#ifdef __x86_64__
static bool has_sse2(void)
{
	return boot_cpu_has(X86_FEATURE_XMM2);
}

/* One asm statement: in user space the compiler uses xmm0, too. */
static void clear_by_sse2(void *addr, size_t len)
{
	void *end = addr + len;

	kernel_fpu_begin();
	asm volatile("pxor %%xmm0, %%xmm0\n"
		     "1:\n\t"
		     "movntdq %%xmm0, (%0)\n\t"
		     "movntdq %%xmm0, 16(%0)\n\t"
		     "movntdq %%xmm0, 32(%0)\n\t"
		     "movntdq %%xmm0, 48(%0)\n\t"
		     "add $64, %0\n\t"
		     "cmp %1, %0\n\t"
		     "jb 1b\n\t"
		     "sfence"
		     : "+r" (addr) : "r" (end) : STORE_CLOBBERS);
	kernel_fpu_end();
}

static bool has_avx2(void)
{
	return boot_cpu_has(X86_FEATURE_AVX2) &&
	       cpu_has_xfeatures(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM, NULL);
}

static void clear_by_avx2(void *addr, size_t len)
{
	void *end = addr + len;

	kernel_fpu_begin();
	asm volatile("vpxor %%ymm0, %%ymm0, %%ymm0\n"
		     "1:\n\t"
		     "vmovntdq %%ymm0, (%0)\n\t"
		     "vmovntdq %%ymm0, 32(%0)\n\t"
		     "add $64, %0\n\t"
		     "cmp %1, %0\n\t"
		     "jb 1b\n\t"
		     "vzeroupper\n\t"
		     "sfence"
		     : "+r" (addr) : "r" (end) : STORE_CLOBBERS);
	kernel_fpu_end();
}

static bool has_clzero(void)
{
	return boot_cpu_has(X86_FEATURE_CLZERO);
}

static void clear_by_clzero(void *addr, size_t len)
{
	void *end = addr + len;

	asm volatile("1:\n\t"
		     "clzero\n\t"
		     "add $64, %0\n\t"
		     "cmp %1, %0\n\t"
		     "jb 1b\n\t"
		     "sfence"
		     : "+a" (addr) : "r" (end) : "cc", "memory");
}

static bool has_movdir64b(void)
{
	return boot_cpu_has(X86_FEATURE_MOVDIR64B);
}

static void clear_by_movdir64b(void *addr, size_t len)
{
	static const char zeroes[64] __aligned(64);
	void *end = addr + len;

	asm volatile("1:\n\t"
		     "movdir64b (%2), %0\n\t"
		     "add $64, %0\n\t"
		     "cmp %1, %0\n\t"
		     "jb 1b\n\t"
		     "sfence"
		     : "+r" (addr) : "r" (end), "r" (zeroes) : "cc", "memory");
}
#endif /* __x86_64__ */

#ifdef __aarch64__
static bool has_stnp(void)
{
	return true;
}

/* Ordinary stores with a hint for the caches: unlocking the memory orders them. */
static void clear_by_stnp(void *addr, size_t len)
{
	void *end = addr + len;

	asm volatile("1:\n\t"
		     "stnp xzr, xzr, [%0]\n\t"
		     "stnp xzr, xzr, [%0, #16]\n\t"
		     "stnp xzr, xzr, [%0, #32]\n\t"
		     "stnp xzr, xzr, [%0, #48]\n\t"
		     "add %0, %0, #64\n\t"
		     "cmp %0, %1\n\t"
		     "b.lo 1b"
		     : "+r" (addr) : "r" (end) : "cc", "memory");
}
#endif /* __aarch64__ */

static const struct store_method store_methods[] = {
	/* On arm64 this is DC ZVA, where the CPU allows it */
	{ "clear_page", "the kernel's", SZ_16K, has_clear_page, clear_by_clear_page },
#ifdef __x86_64__
	/* 64 bytes (AVX-512) are no faster than 32 */
	{ "nt", "AVX2", SZ_64K, has_avx2, clear_by_avx2 },
	{ "nt", "SSE2", SZ_64K, has_sse2, clear_by_sse2 },
	{ "clzero", "CLZERO", SZ_64K, has_clzero, clear_by_clzero },
	{ "movdir64b", "MOVDIR64B", SZ_64K, has_movdir64b, clear_by_movdir64b },
#endif
#ifdef __aarch64__
	{ "stnp", "STNP", SZ_16K, has_stnp, clear_by_stnp },
#endif
	{}
};

/* Is @m what its name means on this CPU? */
static inline bool store_method_usable(const struct store_method *m)
{
	const struct store_method *first;

	for (first = store_methods; first->name; first++) {
		if (!strcmp(first->name, m->name) && first->has())
			return first == m;
	}

	return false;
}

/* Clear any number of pages, without a pause between the chunks. */
static inline void store_method_clear(const struct store_method *m, void *addr, size_t len)
{
	size_t done;

	for (done = 0; done < len; done += m->chunk)
		m->clear(addr + done, min(m->chunk, len - done));
}

#endif /* _PREZERO_STORES_H */

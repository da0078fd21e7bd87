// SPDX-License-Identifier: GPL-2.0
/*
 * The methods of module/stores.h in user space, for what the lab cannot test. QEMU
 * emulates neither clzero nor movdir64b, nor stores that are weakly ordered.
 *
 * Instructions that the CPU lacks are done by the handler of SIGILL. The fences are
 * tested by a second thread, with instructions that the CPU has.
 *
 * Prints KTAP, indented as subtests are.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/sysinfo.h>
#include <ucontext.h>

#include "../../bench/stores-user.h"

#define AREA		(32 * PAGE_SIZE)
#define DIRTY		0xa5
#define LINE		64
#define HANDOVERS	20000

static unsigned char *area;
static int nr, failed;

static void result(bool ok, const char *text, const struct store_method *m)
{
	nr++;
	failed += !ok;
	printf("    %sok %d %s (%s) %s\n", ok ? "" : "not ", nr, m->name, m->insn, text);
}

#ifdef __x86_64__
/* clzero, and movdir64b with registers that need no prefix */
static void emulate(int sig, siginfo_t *info, void *context)
{
	static const int regs[] = { REG_RAX, REG_RCX, REG_RDX, REG_RBX,
				    REG_RSP, REG_RBP, REG_RSI, REG_RDI };
	greg_t *g = ((ucontext_t *)context)->uc_mcontext.gregs;
	unsigned char *insn = (unsigned char *)g[REG_RIP];

	if (!memcmp(insn, "\x0f\x01\xfc", 3)) {
		memset((void *)(g[REG_RAX] & -LINE), 0, LINE);
		g[REG_RIP] += 3;
	} else if (!memcmp(insn, "\x66\x0f\x38\xf8", 4) && insn[4] < 0x40) {
		memcpy((void *)g[regs[insn[4] >> 3]],
		       (void *)g[regs[insn[4] & 7]], LINE);
		g[REG_RIP] += 5;
	} else {
		(void)info;
		signal(sig, SIG_DFL);
	}
}

static bool can_emulate(const struct store_method *m)
{
	return m->clear == clear_by_clzero || m->clear == clear_by_movdir64b;
}

static void handle_sigill(void)
{
	struct sigaction action = { .sa_sigaction = emulate, .sa_flags = SA_SIGINFO };

	if (sigaction(SIGILL, &action, NULL))
		err(1, "sigaction");
}
#else
static bool can_emulate(const struct store_method *m)
{
	return false;
}

static void handle_sigill(void)
{
}
#endif

static bool all(size_t from, size_t to, unsigned char byte)
{
	while (from < to) {
		if (area[from++] != byte)
			return false;
	}
	return true;
}

static bool clears_exactly(const struct store_method *m)
{
	for (size_t from = 0; from < 2 * PAGE_SIZE; from += PAGE_SIZE) {
		for (size_t len = PAGE_SIZE; len <= m->chunk; len *= 2) {
			memset(area, DIRTY, AREA);
			m->clear(area + from, len);
			if (!all(0, from, DIRTY) || !all(from, from + len, 0) ||
			    !all(from + len, AREA, DIRTY))
				return false;
		}
	}
	return true;
}

/*
 * The last line of the page is handed to another thread after it was cleared. That
 * thread must find it zero, and what it writes must stay.
 */
static volatile unsigned long turn;
static unsigned long not_zero;

static void *taker(void *unused)
{
	volatile unsigned char *last = area + PAGE_SIZE - LINE;

	for (unsigned long i = 0; i < HANDOVERS; i++) {
		while (turn != 2 * i + 1)
			;
		not_zero += *last != 0;
		*last = DIRTY;
		turn = 2 * i + 2;
	}
	return unused;
}

static bool fences(const struct store_method *m)
{
	unsigned char *last = area + PAGE_SIZE - LINE;
	unsigned long lost = 0;
	pthread_t thread;

	turn = 0;
	not_zero = 0;
	*last = DIRTY;
	if (pthread_create(&thread, NULL, taker, NULL))
		errx(1, "pthread_create failed");
	for (unsigned long i = 0; i < HANDOVERS; i++) {
		m->clear(area, PAGE_SIZE);
		turn = 2 * i + 1;
		while (turn != 2 * i + 2)
			;
		lost += *(volatile unsigned char *)last != DIRTY;
	}
	pthread_join(thread, NULL);
	if (not_zero || lost)
		printf("    # of %d: not zero %lu, lost %lu\n", HANDOVERS, not_zero, lost);
	return !not_zero && !lost;
}

int main(void)
{
	const struct store_method *m;

	choose_clear_page();
	area = aligned_alloc(PAGE_SIZE, AREA);
	if (!area)
		err(1, "aligned_alloc");
	handle_sigill();
	for (m = store_methods; m->name; m++) {
		if (m->has() || can_emulate(m))
			result(clears_exactly(m), "clears exactly what it is told to", m);
		/* On one CPU the threads would take turns by the time slice. */
		if (m->has() && get_nprocs() > 1)
			result(fences(m), "has written before it returns", m);
	}
	printf("    1..%d\n", nr);
	return failed;
}

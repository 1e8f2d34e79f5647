// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
/*
 * The programs. Each is thin: decide whether the hit counts, find the goroutine, hand over.
 *
 * Nothing here writes to the target's memory, and there is no uretprobe: Go moves its stacks.
 */
#include "kernel.bpf.h"
#include "undergo.h"
#include "knobs.bpf.h"
#include "ledger.bpf.h"
#include "goroutine.bpf.h"
#include "clock.bpf.h"
#include "emit.bpf.h"
#include "frames.bpf.h"
#include "fetch.bpf.h"
#include "filter.bpf.h"
#include "states.bpf.h"

#define EFLAGS_CF_ZF 0x41
#define EFLAGS_ZF 0x40

/* Offsets in struct pt_regs by hardware register number: rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8 to r15. */
static const __u8 register_offsets[16] = { 80, 88, 96, 40, 152, 32, 104, 112, 72, 64, 56, 48, 24, 16, 8, 0 };

static __always_inline __u64 register_of(const struct pt_regs *regs, __u32 number)
{
	__u64 value = 0;

	/* the context may only be read at constant offsets, but it is kernel memory as well */
	bpf_probe_read_kernel(&value, sizeof(value), (void *)regs + register_offsets[number & 15]);
	return value;
}

/* A hit in the runtime that means nothing: not yet, not anymore, another's process, or a stack check that grows. */
static __always_inline bool means_nothing(const struct pt_regs *regs, __u64 cookie)
{
	return !active || !wanted_process(bpf_get_current_pid_tgid() >> 32, cookie) ||
	       (COOKIE_FLAGS(cookie) & COOKIE_RETRY_CHECK && regs->flags & EFLAGS_CF_ZF);
}

/* A hit of a process or goroutine nobody asked about: counted once per call, at its entry. */
static __always_inline int filtered_out(__u32 tgid, __u32 func)
{
	struct tally *tally = tally_of(tgid, func);

	if (tally) {
		add(&tally->hits, 1);
		add(&tally->filtered, 1);
	}
	return 0;
}

static __always_inline struct goroutine *goroutine_at_entry(const struct who *who, __u32 tid, __u64 now)
{
	struct goroutine *goroutine = find_goroutine(&who->key);

	if (unlikely(!goroutine)) {
		goroutine = add_goroutine(&who->key);
		if (!goroutine)
			return NULL;
		goroutine->goid = who->goid;
		goroutine->on_g0 = who->on_g0;
	}
	if (unlikely(goroutine->goid != who->goid)) {
		/* The runtime gave this g to a new goroutine: what is still open died with the old one. */
		if (keep_clocks && goroutine->open) {
			now = not_before(&goroutine->clock, now);
			advance(&goroutine->clock, now);
		}
		unwind(goroutine, &who->key, 0, tid, now, END_DIED);
		goroutine->goid = who->goid;
	}
	return goroutine;
}

SEC("uprobe")
int call_entry(struct pt_regs *regs)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 cookie = bpf_get_attach_cookie(regs);
	__u64 ids = bpf_get_current_pid_tgid();
	__u32 func = COOKIE_FUNC(cookie);
	struct who who = { .tgid = ids >> 32, .tid = ids };
	struct goroutine *goroutine;
	struct frame *frame;
	struct tally *tally;
	__u64 depth;
	int cause;

	if (!active)
		return 0;
	if (COOKIE_FLAGS(cookie) & COOKIE_RETRY_CHECK && regs->flags & EFLAGS_CF_ZF)
		return 0;
	if (!wanted_process(who.tgid, cookie))
		return filtered_out(0, func);
	cause = identify(&who, regs, cookie);
	if (cause < 0 && filter_goids && !bpf_map_lookup_elem(&wanted_goids, &who.goid))
		return filtered_out(who.tgid, func);
	tally = tally_of(who.tgid, func);
	if (!tally)
		return 0;
	/* Counted before anything is allocated: a full table loses times, never counts. */
	add(&tally->hits, 1);
	if (filter_calls && cause < 0 && !wanted_call(regs, cookie, who.g, 0, false)) {
		add(&tally->filtered, 1);
		return 0;
	}
	if (cause < 0) {
		goroutine = goroutine_at_entry(&who, who.tid, now);
		cause = DROP_GOROUTINES_FULL;
		if (goroutine) {
			if (keep_clocks)
				now = hold_at_call(goroutine, who.key.g, now);
			depth = who.stack_hi - (regs->sp + COOKIE_SP_TO_CFA(cookie));
			unwind(goroutine, &who.key, depth, who.tid, now, END_PANIC);
			cause = open_frame(goroutine, &who.key, func, depth, now);
			if ((capture_values || by_most) && cause < 0 && goroutine->open) {
				frame = frame_at(goroutine, &who.key, goroutine->open - 1);
				if (frame && by_most)
					frame->by = row_of(regs, cookie, who.g);
				if (frame && capture_values)
					capture(regs, cookie, who.g, frame->id, false);
			}
			if (cause < 0 && COOKIE_FLAGS(cookie) & COOKIE_BARE_RET)
				unwind(goroutine, &who.key, depth, who.tid, now, END_RETURN);
			if (keep_clocks)
				let_go_at_call(goroutine);
		}
	}
	if (cause >= 0 && cause < DROP_CAUSES)
		add(&tally->dropped[cause], 1);
	return 0;
}

SEC("uprobe")
int call_exit(struct pt_regs *regs)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 cookie = bpf_get_attach_cookie(regs);
	__u64 ids = bpf_get_current_pid_tgid();
	__u32 func = COOKIE_FUNC(cookie);
	struct who who = { .tgid = ids >> 32, .tid = ids };
	struct goroutine *goroutine;
	struct frame *frame = NULL;
	struct tally *tally;
	bool matched;
	__u64 depth;

	if (!active || !wanted_process(who.tgid, cookie))
		return 0;
	if (identify(&who, regs, cookie) >= 0)
		return 0; /* its entry was dropped for the same reason */
	if (filter_goids && !bpf_map_lookup_elem(&wanted_goids, &who.goid))
		return 0;
	depth = who.stack_hi - (regs->sp + COOKIE_SP_TO_CFA(cookie));
	goroutine = find_goroutine(&who.key);
	if (goroutine && goroutine->goid == who.goid) {
		if (keep_clocks)
			now = hold_at_call(goroutine, who.key.g, now);
		unwind(goroutine, &who.key, depth + 1, who.tid, now, END_PANIC);
		if (goroutine->open)
			frame = frame_at(goroutine, &who.key, goroutine->open - 1);
	}
	matched = frame && frame->depth == depth && frame->func == func;
	if (matched && filter_calls && !wanted_call(regs, cookie, who.g, now - frame->start, true))
		frame->rejected = 1;
	else if (matched && capture_values)
		capture(regs, cookie, who.g, frame->id, true);
	if (matched)
		close_frame(goroutine, &who.key, frame, now, TID_AND_END(who.tid, END_RETURN));
	if (goroutine && goroutine->goid == who.goid) {
		if (keep_clocks)
			let_go_at_call(goroutine);
		if (!goroutine->open && live_goroutines > crowded)
			forget_goroutine(&who.key);
	}
	if (matched || (filter_calls && filtered_at_entry(func)))
		return 0;
	tally = tally_of(who.tgid, func);
	if (tally)
		add(&tally->unmatched_exits, 1);
	return 0;
}

/* At `call runtime.gogo` in runtime.recovery, on g0: what lies above the recovering frame was panicked over. */
SEC("uprobe")
int recovery(struct pt_regs *regs)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 cookie = bpf_get_attach_cookie(regs);
	const volatile struct layout *layout = layout_of(cookie);
	__u64 ids = bpf_get_current_pid_tgid();
	struct goroutine_key key = {};
	struct goroutine *goroutine;
	__u64 m = 0, g = 0;
	struct g_head head;

	if (means_nothing(regs, cookie))
		return 0;
	if (bpf_probe_read_user(&m, sizeof(m), (void *)(regs->r14 + layout->g_m)) ||
	    bpf_probe_read_user(&g, sizeof(g), (void *)(m + layout->m_curg)) ||
	    bpf_probe_read_user(&head, G_HEAD_BYTES, (void *)g))
		return 0;
	goroutine_key_of(&key, g, ids >> 32);
	goroutine = find_goroutine(&key);
	if (!goroutine || !goroutine->open)
		return 0;
	if (keep_clocks)
		now = hold_at_call(goroutine, g, now);
	unwind(goroutine, &key, head.words[1] - g_word(&head, layout->g_sched_sp), (__u32)ids, now,
	       END_PANIC);
	if (keep_clocks)
		let_go_at_call(goroutine);
	return 0;
}

/* At the entry of runtime.goexit0(gp), which ends every goroutine: frames still open left by runtime.Goexit. */
SEC("uprobe")
int death(struct pt_regs *regs)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 cookie = bpf_get_attach_cookie(regs);
	__u64 ids = bpf_get_current_pid_tgid();
	struct goroutine_key key = {};
	struct goroutine *goroutine;

	if (means_nothing(regs, cookie))
		return 0;
	goroutine_key_of(&key, regs->ax, ids >> 32);
	goroutine = find_goroutine(&key);
	if (!goroutine)
		return 0;
	if (keep_clocks && goroutine->open)
		now = hold_at_call(goroutine, regs->ax, now);
	unwind(goroutine, &key, 0, (__u32)ids, now, END_GOEXIT);
	forget_goroutine(&key);
	return 0;
}

/* The runtime takes goroutine `g` from one status to another; `running` is the g that does it. */
static __always_inline void status_changed(const volatile struct layout *layout, __u64 g, __u64 running,
					   __u32 from, __u32 to, __u32 slot, __u64 now)
{
	struct change change = {
		.layout = layout,
		.g = g,
		.running = running,
		.now = now,
		.from = from & ~GO_SCAN,
		.to = to & ~GO_SCAN,
		.slot = slot,
	};

	if (keep_clocks)
		clock_transition(layout, g, to & ~GO_SCAN, slot, now);
	if (watch_states)
		state_changed(&change);
}

/* At the entry of runtime.casgstatus(gp, old, new), most often on g0. */
SEC("uprobe")
int transition(struct pt_regs *regs)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 cookie = bpf_get_attach_cookie(regs);
	const volatile struct layout *layout = layout_of(cookie);
	__u32 slot = READ_REASON;
	__u64 caller = 0;

	if (means_nothing(regs, cookie))
		return 0;
	if (layout->park_high && (__u32)regs->cx == GO_WAITING) {
		/* up to Go 1.19 only park_m has written g.waitreason before */
		bpf_probe_read_user(&caller, sizeof(caller),
				    (void *)(regs->sp + COOKIE_SP_TO_CFA(cookie) - 8));
		caller -= regs->ip;
		if ((__s64)caller < layout->park_low || (__s64)caller >= layout->park_high)
			slot = layout->stale_slot;
	}
	status_changed(layout, regs->ax, regs->r14, regs->bx, regs->cx, slot, now);
	return 0;
}

/* On the conditional jump after an inlined compare-and-swap of g.atomicstatus. */
SEC("uprobe")
int inlined_transition(struct pt_regs *regs)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 cookie = bpf_get_attach_cookie(regs);
	const volatile struct layout *layout = layout_of(cookie);
	__u64 g, status;

	if (means_nothing(regs, cookie))
		return 0;
	if (regs->flags & EFLAGS_ZF)
		return 0; /* the swap failed; it is tried again */
	g = register_of(regs, CAS_GP(cookie));
	status = register_of(regs, CAS_NEW(cookie));
	if (CAS_NEW_IS_LOST(cookie) &&
	    bpf_probe_read_user(&status, sizeof(__u32), (void *)(g + layout->g_atomicstatus)))
		return 0;
	status_changed(layout, g, regs->r14, regs->ax, status, READ_REASON, now);
	return 0;
}

/* At the entry of runtime.preemptPark(gp), whose own status changes bypass casgstatus. */
SEC("uprobe")
int preemption(struct pt_regs *regs)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 cookie = bpf_get_attach_cookie(regs);
	const volatile struct layout *layout = layout_of(cookie);

	if (means_nothing(regs, cookie))
		return 0;
	status_changed(layout, regs->ax, regs->r14, GO_RUNNING, GO_PREEMPTED, layout->preempted_slot, now);
	return 0;
}

/* In runtime.newproc1, once the new g has its goid: it is in no queue yet. */
SEC("uprobe")
int birth(struct pt_regs *regs)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 cookie = bpf_get_attach_cookie(regs);

	if (means_nothing(regs, cookie))
		return 0;
	goroutine_born(layout_of(cookie), regs, cookie, register_of(regs, BIRTH_G(cookie)), now);
	return 0;
}

SEC("tp_btf/sched_switch")
int switched(__u64 *ctx)
{
	__u64 now = bpf_ktime_get_ns();

	off_cpu((struct task_struct *)ctx[1], now);
	on_cpu((struct task_struct *)ctx[2], now);
	return 0;
}

SEC("tp_btf/sys_enter")
int syscall_entered(__u64 *ctx)
{
	system_call(BIN_RUNNING, BIN_SYSCALL);
	return 0;
}

SEC("tp_btf/sys_exit")
int syscall_left(__u64 *ctx)
{
	system_call(BIN_SYSCALL, BIN_RUNNING);
	return 0;
}

/* Keep these types in the BTF, from which Python learns them. */
const struct call_record *record_layout __attribute__((unused));
const struct waits_record *waits_layout __attribute__((unused));
const enum bin *bins __attribute__((unused));
const enum go_status *go_statuses __attribute__((unused));
const struct state_record *state_record_layout __attribute__((unused));
const enum state_row *state_rows __attribute__((unused));
const enum record_kind *record_kinds __attribute__((unused));
const enum call_end *call_ends __attribute__((unused));
const enum drop_cause *drop_causes __attribute__((unused));

char LICENSE[] SEC("license") = "Dual BSD/GPL";

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
#include "emit.bpf.h"
#include "frames.bpf.h"

#define EFLAGS_CF_ZF 0x41

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
	}
	if (unlikely(goroutine->goid != who->goid)) {
		/* The runtime gave this g to a new goroutine: what is still open died with the old one. */
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
	struct tally *tally;
	__u64 depth;
	int cause;

	if (!active)
		return 0;
	if (COOKIE_FLAGS(cookie) & COOKIE_RETRY_CHECK && regs->flags & EFLAGS_CF_ZF)
		return 0;
	if (!wanted_process(who.tgid))
		return filtered_out(0, func);
	cause = identify(&who, regs, cookie);
	if (cause < 0 && filter_goids && !bpf_map_lookup_elem(&wanted_goids, &who.goid))
		return filtered_out(who.tgid, func);
	tally = tally_of(who.tgid, func);
	if (!tally)
		return 0;
	/* Counted before anything is allocated: a full table loses times, never counts. */
	add(&tally->hits, 1);
	if (cause < 0) {
		goroutine = goroutine_at_entry(&who, who.tid, now);
		cause = DROP_GOROUTINES_FULL;
		if (goroutine) {
			depth = who.stack_hi - (regs->sp + COOKIE_SP_TO_CFA(cookie));
			unwind(goroutine, &who.key, depth, who.tid, now, END_PANIC);
			cause = open_frame(goroutine, &who.key, func, depth, now);
			if (cause < 0 && COOKIE_FLAGS(cookie) & COOKIE_BARE_RET)
				unwind(goroutine, &who.key, depth, who.tid, now, END_RETURN);
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
	__u64 depth;

	if (!active || !wanted_process(who.tgid))
		return 0;
	if (identify(&who, regs, cookie) >= 0)
		return 0; /* its entry was dropped for the same reason */
	if (filter_goids && !bpf_map_lookup_elem(&wanted_goids, &who.goid))
		return 0;
	depth = who.stack_hi - (regs->sp + COOKIE_SP_TO_CFA(cookie));
	goroutine = find_goroutine(&who.key);
	if (goroutine && goroutine->goid == who.goid) {
		unwind(goroutine, &who.key, depth + 1, who.tid, now, END_PANIC);
		if (goroutine->open)
			frame = frame_at(goroutine, &who.key, goroutine->open - 1);
	}
	if (frame && frame->depth == depth && frame->func == func) {
		close_frame(goroutine, &who.key, frame, who.tid, now, END_RETURN);
		if (!goroutine->open && live_goroutines > crowded)
			forget_goroutine(&who.key);
		return 0;
	}
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
	const volatile struct layout *layout = layout_of(bpf_get_attach_cookie(regs));
	__u64 ids = bpf_get_current_pid_tgid();
	struct goroutine_key key = {};
	struct goroutine *goroutine;
	__u64 m = 0, g = 0;
	struct g_head head;

	if (!active || !wanted_process(ids >> 32))
		return 0;
	if (bpf_probe_read_user(&m, sizeof(m), (void *)(regs->r14 + layout->g_m)) ||
	    bpf_probe_read_user(&g, sizeof(g), (void *)(m + layout->m_curg)) ||
	    bpf_probe_read_user(&head, G_HEAD_BYTES, (void *)g))
		return 0;
	goroutine_key_of(&key, g, ids >> 32);
	goroutine = find_goroutine(&key);
	if (goroutine)
		unwind(goroutine, &key, head.words[1] - g_word(&head, layout->g_sched_sp) + 1, (__u32)ids,
		       now, END_PANIC);
	return 0;
}

/* At the entry of runtime.goexit0(gp), which ends every goroutine: frames still open left by runtime.Goexit. */
SEC("uprobe")
int death(struct pt_regs *regs)
{
	__u64 now = bpf_ktime_get_ns();
	__u64 ids = bpf_get_current_pid_tgid();
	struct goroutine_key key = {};
	struct goroutine *goroutine;

	if (!active || !wanted_process(ids >> 32))
		return 0;
	if (COOKIE_FLAGS(bpf_get_attach_cookie(regs)) & COOKIE_RETRY_CHECK && regs->flags & EFLAGS_CF_ZF)
		return 0;
	goroutine_key_of(&key, regs->ax, ids >> 32);
	goroutine = find_goroutine(&key);
	if (!goroutine)
		return 0;
	unwind(goroutine, &key, 0, (__u32)ids, now, END_GOEXIT);
	forget_goroutine(&key);
	return 0;
}

/* Keep these types in the BTF, from which Python learns them. */
const struct call_record *record_layout __attribute__((unused));
const enum record_kind *record_kinds __attribute__((unused));
const enum call_end *call_ends __attribute__((unused));
const enum drop_cause *drop_causes __attribute__((unused));

char LICENSE[] SEC("license") = "Dual BSD/GPL";

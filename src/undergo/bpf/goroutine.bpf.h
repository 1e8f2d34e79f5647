/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which goroutine is running, and what we keep about it.
 *
 * g is R14 in ABIInternal code; on the system stack it is g0 (goid 0) and the user's goroutine is g.m.curg.
 * The record belongs to the g that owns the stack, because frames are positions on that stack.
 */
#pragma once

#define G_WORDS 32

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct goroutine_key);
	__type(value, struct goroutine);
} goroutines SEC(".maps");

/* Live records in `goroutines`; approximate only in how soon a crowded map is noticed. */
__u64 live_goroutines;

static const struct goroutine no_goroutine;

/* The first words of a runtime.g: all that we need lies within 168 bytes in Go 1.17-1.27. */
struct g_head {
	__u64 words[G_WORDS];
};

#define G_HEAD_BYTES 168

/* Who hit a probe. */
struct who {
	struct goroutine_key key;
	__u32 tid;
	__u32 tgid;
	__u32 on_g0;
	__u64 goid;
	__u64 g; /* of the user's goroutine */
	__u64 stack_hi;
};

static __always_inline __u64 g_word(const struct g_head *head, __u32 offset)
{
	return head->words[(offset >> 3) & (G_WORDS - 1)];
}

static __always_inline const volatile struct layout *layout_of(__u64 cookie)
{
	return &layouts[COOKIE_EXECUTABLE(cookie) & (MAX_EXECUTABLES - 1)];
}

static __always_inline bool wanted_process(__u32 tgid, __u64 cookie)
{
	return !layout_of(cookie)->only_targets || bpf_map_lookup_elem(&targets, &tgid);
}

static __always_inline void goroutine_key_of(struct goroutine_key *key, __u64 g, __u32 tgid)
{
	struct task_struct *task = bpf_get_current_task_btf();

	key->g = g;
	key->tgid = tgid;
	key->exec_id = task->self_exec_id;
}

/* g of the current thread as the runtime keeps it for assembly and C code: fs:-8 in executables. */
static __always_inline __u64 g_from_tls(void)
{
	struct task_struct *task = bpf_get_current_task_btf();
	__u64 g = 0;

	bpf_probe_read_user(&g, sizeof(g), (void *)(task->thread.fsbase - 8));
	return g;
}

/* Fills `who`. Returns a drop cause, or -1 if all is well. */
static __always_inline int identify(struct who *who, struct pt_regs *regs, __u64 cookie)
{
	const volatile struct layout *layout = layout_of(cookie);
	__u64 g = COOKIE_FLAGS(cookie) & COOKIE_G_FROM_TLS ? g_from_tls() : regs->r14;
	__u64 curg = 0;
	struct g_head head;

	if (bpf_probe_read_user(&head, G_HEAD_BYTES, (void *)g))
		return DROP_G_UNREADABLE;
	/* The live check of the layout: the stack pointer lies within the stack that g says is its own. */
	if (regs->sp <= head.words[0] || regs->sp >= head.words[1])
		return DROP_G_IMPLAUSIBLE;
	goroutine_key_of(&who->key, g, who->tgid);
	who->stack_hi = head.words[1];
	who->goid = g_word(&head, layout->g_goid);
	who->g = g;
	if (unlikely(!who->goid)) {
		who->on_g0 = 1;
		if (bpf_probe_read_user(&curg, sizeof(curg),
					(void *)(g_word(&head, layout->g_m) + layout->m_curg)))
			return DROP_G_UNREADABLE;
		who->g = curg;
		if (curg)
			bpf_probe_read_user(&who->goid, sizeof(who->goid), (void *)(curg + layout->g_goid));
	}
	return -1;
}

static __always_inline struct goroutine *find_goroutine(const struct goroutine_key *key)
{
	return bpf_map_lookup_elem(&goroutines, key);
}

static __always_inline struct goroutine *add_goroutine(const struct goroutine_key *key)
{
	if (bpf_map_update_elem(&goroutines, key, &no_goroutine, BPF_NOEXIST))
		return NULL;
	__sync_fetch_and_add(&live_goroutines, 1);
	return bpf_map_lookup_elem(&goroutines, key);
}

static __always_inline void forget_goroutine(const struct goroutine_key *key)
{
	if (!bpf_map_delete_elem(&goroutines, key))
		__sync_fetch_and_add(&live_goroutines, -1);
}

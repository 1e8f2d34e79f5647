/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Goroutine states: every change of g.atomicstatus of every goroutine, as the runtime sees it.
 *
 * This is the runtime's own view, and so not the clock's: it knows no `descheduled`, and a system call only where
 * the runtime announced it.
 */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct goroutine_key);
	__type(value, struct state);
} states SEC(".maps");

static const struct state no_state;

/* A change as a probe sees it. */
struct change {
	const volatile struct layout *layout;
	__u64 g; /* of whom */
	__u64 running; /* g of the code that makes it: a user's, or g0 */
	__u64 now;
	__u32 from;
	__u32 to;
	__u32 slot; /* of the wait that begins, or READ_REASON */
};

/* goid of the goroutine that a piece of runtime code works for; 0 for a timer, the poller, the collector. */
static __always_inline __u64 goid_behind(const volatile struct layout *layout, __u64 g)
{
	__u64 goid = 0, m = 0;

	bpf_probe_read_user(&goid, sizeof(goid), (void *)(g + layout->g_goid));
	if (goid)
		return goid;
	if (bpf_probe_read_user(&m, sizeof(m), (void *)(g + layout->g_m)) ||
	    bpf_probe_read_user(&g, sizeof(g), (void *)(m + layout->m_curg)) || !g)
		return 0;
	bpf_probe_read_user(&goid, sizeof(goid), (void *)(g + layout->g_goid));
	return goid;
}

static __always_inline bool wanted_state(__u32 from, __u32 to, __u32 from_slot, __u32 to_slot)
{
	if (wanted_states && !(wanted_states >> (from & 31) & 1) && !(wanted_states >> (to & 31) & 1))
		return false;
	if (!wanted_slots)
		return true;
	return (from == GO_WAITING && wanted_slots >> (from_slot & 63) & 1) ||
	       (to == GO_WAITING && wanted_slots >> (to_slot & 63) & 1);
}

/* Sums up a stay in a state: its row is the state, or STATE_WAITS and the wait's slot. */
static __always_inline bool aggregate_state(__u32 tgid, __u32 state, __u32 slot, __u64 ns)
{
	struct latency *latency = latency_row(tgid, state);

	if (!latency)
		return false;
	add_wall(latency, END_RETURN, ns);
	if (state != GO_WAITING)
		return true;
	latency = latency_row(tgid, STATE_WAITS + slot);
	if (latency)
		add_wall(latency, END_RETURN, ns);
	return latency;
}

static __always_inline struct state_record *new_state_record(__u32 kind, __u32 from, __u32 to, __u64 goid,
							     __u64 now)
{
	struct state_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
	__u64 ids = bpf_get_current_pid_tgid();

	if (!record)
		return NULL;
	__builtin_memset(record, 0, sizeof(*record));
	record->kind = kind;
	record->from = from;
	record->to = to;
	record->time = now;
	record->goid = goid;
	record->tgid = ids >> 32;
	record->tid = ids;
	return record;
}

static __always_inline void delivered_or_not(struct tally *tally, void *record)
{
	if (record) {
		submit(record);
		add(&tally->delivered, 1);
	} else {
		add(&tally->dropped[DROP_RING_FULL], 1);
	}
}

/* Books a change in the goroutine's record; the ring gets it if it was asked for. */
static __always_inline void state_changed(struct change *change)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct state_record *record;
	struct goroutine_key key = {};
	struct tally *tally;
	struct state *state;
	__u64 goid = 0, spent = 0, waker = 0, born = 0;
	__u32 from_slot = WAIT_REASONS - 1, flags = 0, from;

	/* Making a goroutine is told once it is whole; stacks that grow are no change of state. */
	if (change->from == GO_IDLE || change->from == GO_COPYSTACK || change->to == GO_COPYSTACK ||
	    (change->from == GO_DEAD && change->to == GO_RUNNABLE))
		return;
	tally = tally_of(task->tgid, 0);
	if (!tally)
		return;
	add(&tally->hits, 1);
	if (bpf_probe_read_user(&goid, sizeof(goid), (void *)(change->g + change->layout->g_goid))) {
		add(&tally->dropped[DROP_G_UNREADABLE], 1);
		return;
	}
	goroutine_key_of(&key, change->g, task->tgid);
	state = bpf_map_lookup_elem(&states, &key);
	if (state && state->goid != goid) {
		bpf_map_delete_elem(&states, &key);
		state = NULL;
	}
	if (!state && change->to != GO_DEAD) {
		bpf_map_update_elem(&states, &key, &no_state, BPF_ANY);
		state = bpf_map_lookup_elem(&states, &key);
		if (state)
			state->goid = goid;
	} else if (state) {
		born = state->born;
		from_slot = state->slot;
		/* preempted, then taken over as waiting: one and the same stop */
		if (state->status == GO_PREEMPTED && change->from == GO_WAITING)
			change->from = GO_PREEMPTED;
		if (state->status == change->from && change->now >= state->since) {
			spent = change->now - state->since;
			flags |= STATE_SPENT_KNOWN;
			from = change->from - GO_RUNNABLE;
			asm volatile("" : "+r"(from));
			if (from < STATES && spent > state->longest[from]) {
				state->longest[from] = spent;
				if (change->from == GO_WAITING)
					state->longest_slot = from_slot;
			}
		}
	}
	if (change->slot == READ_REASON)
		change->slot = change->to == GO_WAITING ? wait_slot(change->layout, change->g) : 0;
	if (state) {
		state->status = change->to;
		state->since = change->now;
		state->slot = change->slot;
	}
	if ((filter_goids && !bpf_map_lookup_elem(&wanted_goids, &goid)) ||
	    !wanted_state(change->from, change->to, from_slot, change->slot)) {
		add(&tally->filtered, 1);
	} else if (aggregate) {
		if (!(flags & STATE_SPENT_KNOWN))
			add(&tally->filtered, 1); /* it was in that state since before we looked */
		else if (aggregate_state(task->tgid, change->from, from_slot, spent))
			add(&tally->aggregated, 1);
		else
			add(&tally->dropped[DROP_FUNCTIONS_FULL], 1);
	} else {
		if (change->from == GO_WAITING && change->to == GO_RUNNABLE)
			waker = goid_behind(change->layout, change->running);
		record = new_state_record(STATE_CHANGED, change->from, change->to, goid, change->now);
		if (record) {
			record->flags = flags;
			record->from_slot = from_slot;
			record->to_slot = change->slot;
			record->spent = spent;
			record->other = waker;
			record->born = born;
		}
		delivered_or_not(tally, record);
	}
	if (change->to != GO_DEAD)
		return;
	if (aggregate && state) {
		record = new_state_record(GOROUTINE_ENDED, change->from, change->to, goid, change->now);
		if (record) {
			record->born = born;
			record->from_slot = state->longest_slot;
			__builtin_memcpy(record->longest, state->longest, sizeof(record->longest));
			submit(record);
		}
	}
	bpf_map_delete_elem(&states, &key);
}

/* A new goroutine, whole and known to nobody else yet: `site` is where its start was seen. */
static __always_inline void goroutine_born(const volatile struct layout *layout, struct pt_regs *regs,
					   __u64 cookie, __u64 g, __u64 now)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct goroutine_key key = {};
	struct state_record *record;
	struct latency *latency;
	struct tally *tally;
	struct state *state;
	__u64 goid = 0, parent, pc = 0;

	tally = tally_of(task->tgid, 0);
	if (!tally)
		return;
	add(&tally->hits, 1);
	if (bpf_probe_read_user(&goid, sizeof(goid), (void *)(g + layout->g_goid))) {
		add(&tally->dropped[DROP_G_UNREADABLE], 1);
		return;
	}
	goroutine_key_of(&key, g, task->tgid);
	bpf_map_update_elem(&states, &key, &no_state, BPF_ANY);
	state = bpf_map_lookup_elem(&states, &key);
	if (state) {
		state->goid = goid;
		state->since = now;
		state->born = now;
		state->status = GO_RUNNABLE;
	}
	parent = goid_behind(layout, regs->r14);
	if ((filter_goids && !bpf_map_lookup_elem(&wanted_goids, &goid) &&
	     !bpf_map_lookup_elem(&wanted_goids, &parent)) ||
	    !wanted_state(GO_DEAD, GO_RUNNABLE, 0, 0)) {
		add(&tally->filtered, 1);
		return;
	}
	if (aggregate) {
		latency = latency_row(task->tgid, STATE_BIRTHS);
		if (latency)
			add(&latency->ends[END_RETURN], 1);
		add(&tally->aggregated, 1);
		return;
	}
	record = new_state_record(GOROUTINE_BORN, GO_DEAD, GO_RUNNABLE, goid, now);
	if (record) {
		record->site = BIRTH_SITE(cookie);
		record->executable = COOKIE_EXECUTABLE(cookie);
		record->born = now;
		record->other = parent;
		/* relative, for we do not know where the executable was loaded */
		if (!bpf_probe_read_user(&pc, sizeof(pc), (void *)(g + layout->g_gopc)))
			record->go_pc = pc - regs->ip;
		if (!bpf_probe_read_user(&pc, sizeof(pc), (void *)(g + layout->g_startpc)))
			record->start_pc = pc - regs->ip;
	}
	delivered_or_not(tally, record);
}

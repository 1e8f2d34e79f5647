/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which call: the stack of open frames of each goroutine.
 *
 * A frame is identified by its depth, stack.hi - CFA, which the copying of a stack to a bigger one keeps. Any
 * event of the goroutine at depth d ends the open frames that lie deeper: they were unwound without their RET.
 */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct frame_key);
	__type(value, struct frame);
} deep_frames SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} call_counter SEC(".maps");

static const struct frame no_frame;

#define MAX_UNWIND (1 << 20)
#define UNWIND_WITHOUT_LOOP 3
#define TID_AND_END(tid, end) ((__u64)(end) << 32 | (tid))

/* What closing frames needs to know. */
struct closing {
	struct goroutine *goroutine;
	const struct goroutine_key *key;
	__u64 limit; /* frames at this depth or deeper end */
	__u64 now;
	__u32 tid;
	__u32 end;
};

static __always_inline __u64 next_call_id(void)
{
	__u32 zero = 0;
	__u64 *counter = bpf_map_lookup_elem(&call_counter, &zero);

	if (!counter)
		return 0;
	/* 10 bits of CPU keep ids unique without a contended counter, and below 2^53 for JSON's sake. */
	return (__sync_fetch_and_add(counter, 1) + 1) << 10 | (bpf_get_smp_processor_id() & 1023);
}

static __always_inline struct frame *inline_frame(struct goroutine *goroutine, __u32 index)
{
	/* The verifier forgets bounds that the compiler can prove; the barrier makes it keep the mask. */
	asm volatile("" : "+r"(index));
	return &goroutine->frames[index & (INLINE_FRAMES - 1)];
}

static __always_inline struct frame *frame_at(struct goroutine *goroutine, const struct goroutine_key *key,
					      __u32 index)
{
	struct frame_key deep = { .goroutine = *key, .index = index };

	if (likely(index < INLINE_FRAMES))
		return inline_frame(goroutine, index);
	return bpf_map_lookup_elem(&deep_frames, &deep);
}

static __always_inline void drop_frame(const struct goroutine_key *key, __u32 index)
{
	struct frame_key deep = { .goroutine = *key, .index = index };

	if (unlikely(index >= INLINE_FRAMES))
		bpf_map_delete_elem(&deep_frames, &deep);
}

/* Announces the open callers of a call that is about to be shown, outermost first. */
struct announcing {
	struct goroutine *goroutine;
	const struct goroutine_key *key;
	__u32 tid;
	__u32 first;
};

static long announce_one(__u32 step, struct announcing *a)
{
	__u32 index = a->first + step;
	struct frame *frame = frame_at(a->goroutine, a->key, index);
	struct frame *caller;
	__u64 parent = 0;

	if (!frame)
		return 1;
	if (index) {
		caller = frame_at(a->goroutine, a->key, index - 1);
		if (caller)
			parent = caller->id;
	}
	if (!frame->announced)
		frame->announced = emit_opened(a->goroutine, a->key->tgid, a->tid, frame, index, parent);
	return 0;
}

static long find_announced(__u32 step, struct announcing *a)
{
	struct frame *frame = frame_at(a->goroutine, a->key, a->first - 1);

	if (!frame || frame->announced)
		return 1;
	a->first--;
	return a->first == 0;
}

static __always_inline void announce_callers(struct goroutine *goroutine, const struct goroutine_key *key,
					     __u32 tid, __u32 index)
{
	struct announcing a = { .goroutine = goroutine, .key = key, .tid = tid, .first = index };

	if (has_bpf_loop) {
		bpf_loop(index, find_announced, &a, 0);
		bpf_loop(index - a.first, announce_one, &a, 0);
	} else {
		for (int i = 0; i < UNWIND_WITHOUT_LOOP && a.first; i++)
			if (find_announced(i, &a))
				break;
		for (int i = 0; i < UNWIND_WITHOUT_LOOP && a.first + i < index; i++)
			announce_one(i, &a);
	}
}

/*
 * Closes the innermost open frame; its record or its histogram entry is made here. Not static: the verifier then
 * looks at it once, not on every path that leads here.
 */
__noinline int close_frame(struct goroutine *goroutine, const struct goroutine_key *key, struct frame *frame,
			   __u64 now, __u64 tid_and_end)
{
	__u32 tid = tid_and_end, end = tid_and_end >> 32, index;
	struct tally *tally;
	struct frame *caller;
	__u64 parent = 0, wall;

	if (!goroutine || !key || !frame)
		return 0;
	index = goroutine->open - 1;
	wall = now - frame->start;
	tally = tally_of(key->tgid, frame->func);
	goroutine->open = index;
	if (!tally)
		goto out;
	if (unlikely(frame->rejected && !frame->announced)) {
		add(&tally->filtered, 1);
		goto out;
	}
	if (aggregate) {
		if (aggregate_call(key->tgid, end, wall, &goroutine->clock, frame))
			add(&tally->aggregated, 1);
		else
			add(&tally->dropped[DROP_FUNCTIONS_FULL], 1);
		if (!stream_calls)
			goto out;
	} else if (wall < min_duration || (max_depth && index >= max_depth)) {
		add(&tally->filtered, 1);
		goto out;
	}
	if (index) {
		caller = frame_at(goroutine, key, index - 1);
		if (caller) {
			parent = caller->id;
			if (!caller->announced)
				announce_callers(goroutine, key, tid, index);
		}
	}
	if (emit_closed(goroutine, key->tgid, tid, frame, index, parent, end, wall))
		add(&tally->delivered, !aggregate);
	else if (!aggregate) /* what is in the sums is accounted for, whether or not it is also shown */
		add(&tally->dropped[DROP_RING_FULL], 1);
out:
	drop_frame(key, index);
	return 1;
}

static long unwind_one(__u32 step, struct closing *c)
{
	struct goroutine *goroutine = c->goroutine;
	struct frame *frame;

	if (!goroutine->open)
		return 1;
	frame = frame_at(goroutine, c->key, goroutine->open - 1);
	if (!frame) {
		goroutine->open--;
		return 0;
	}
	if (frame->depth < c->limit)
		return 1;
	close_frame(goroutine, c->key, frame, c->now, TID_AND_END(c->tid, c->end));
	return 0;
}

/* Ends every open frame at depth `limit` or deeper. */
static __always_inline void unwind(struct goroutine *goroutine, const struct goroutine_key *key, __u64 limit,
				   __u32 tid, __u64 now, __u32 end)
{
	struct closing c = {
		.goroutine = goroutine,
		.key = key,
		.limit = limit,
		.now = now,
		.tid = tid,
		.end = end,
	};

	if (has_bpf_loop) {
		bpf_loop(MAX_UNWIND, unwind_one, &c, 0);
	} else {
		/* What is left over ends at the goroutine's next events. */
		for (int i = 0; i < UNWIND_WITHOUT_LOOP; i++)
			if (unwind_one(i, &c))
				break;
	}
}

/* Opens a call. Returns a drop cause, or -1. */
static __always_inline int open_frame(struct goroutine *goroutine, const struct goroutine_key *key,
				      __u32 func, __u64 depth, __u64 now)
{
	struct frame_key deep = { .goroutine = *key, .index = goroutine->open };
	struct frame *frame;

	if (likely(goroutine->open < INLINE_FRAMES)) {
		frame = inline_frame(goroutine, goroutine->open);
	} else {
		bpf_map_update_elem(&deep_frames, &deep, &no_frame, BPF_ANY);
		frame = bpf_map_lookup_elem(&deep_frames, &deep);
		if (!frame)
			return DROP_FRAMES_FULL;
	}
	frame->depth = depth;
	frame->start = now;
	frame->id = next_call_id();
	frame->func = func;
	frame->announced = 0;
	frame->rejected = 0;
	frame->by = BY_NONE;
	if (keep_clocks) {
		frame->gaps = goroutine->clock.gaps;
		frame->before = goroutine->clock.spent;
	}
	goroutine->open++;
	return -1;
}

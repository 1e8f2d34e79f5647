/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What a call leaves behind: a record in the ring, or its time in a histogram. */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1);
	__type(key, struct function_key);
	__type(value, struct latency);
} latencies SEC(".maps");

static const struct latency no_latency;

/* A wake-up inside the probe costs fifty times a record, so the reader is woken by volume (and its own timer). */
static __always_inline void submit(void *record)
{
	bool much = bpf_ringbuf_query(&records, BPF_RB_AVAIL_DATA) >= wakeup_bytes;

	bpf_ringbuf_submit(record, much ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline struct call_record *new_call_record(const struct goroutine *goroutine, __u32 tgid,
							   __u32 tid, const struct frame *frame, __u32 depth,
							   __u64 parent)
{
	struct call_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);

	if (!record)
		return NULL;
	__builtin_memset(record, 0, sizeof(*record));
	record->func = frame->func;
	record->start = frame->start;
	record->id = frame->id;
	record->parent = parent;
	record->goid = goroutine->goid;
	record->tgid = tgid;
	record->tid = tid;
	record->depth = depth;
	return record;
}

static __always_inline bool emit_opened(const struct goroutine *goroutine, __u32 tgid, __u32 tid,
					const struct frame *frame, __u32 depth, __u64 parent)
{
	struct call_record *record = new_call_record(goroutine, tgid, tid, frame, depth, parent);

	if (!record)
		return false;
	record->kind = CALL_OPENED;
	record->end = END_OPEN;
	submit(record);
	return true;
}

/* The wait reasons beyond those that a CALL_CLOSED has room for; 0 if the ring has none for these. */
__noinline int emit_waits(struct clock *clock, const struct frame *frame)
{
	struct waits_record *record = NULL;
	__u32 found, count;

	if (!clock || !frame)
		return 0;
	clock->found = 0;
	for (__u32 slot = 0; slot < WAIT_SLOTS; slot++) {
		__u64 ns = clock->spent.waits[slot] - frame->before.waits[slot];

		if (!ns)
			continue;
		found = *(volatile __u32 *)&clock->found + 1;
		clock->found = found;
		if (found <= NEAR_WAITS)
			continue;
		if (!record) {
			record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);
			if (!record)
				return 0;
			__builtin_memset(record, 0, sizeof(*record));
			record->kind = CALL_WAITS;
			record->id = frame->id;
		}
		count = *(volatile __u8 *)&record->count;
		asm volatile("" : "+r"(count));
		if (count < FAR_WAITS) {
			record->slots[count] = slot;
			record->waits[count] = ns;
			record->count = count + 1;
		}
		if (count + 1 >= FAR_WAITS) {
			submit(record);
			record = NULL;
		}
	}
	if (record)
		submit(record);
	return 1;
}

static __always_inline bool emit_closed(struct goroutine *goroutine, __u32 tgid, __u32 tid,
					const struct frame *frame, __u32 depth, __u64 parent, __u32 end,
					__u64 wall)
{
	struct clock *clock = &goroutine->clock;
	struct call_record *record;
	struct split split;
	__u32 flags = 0;

	if (keep_clocks) {
		flags = CALL_HAS_SPLIT;
		if (clock->gaps != frame->gaps)
			flags |= CALL_HAS_GAP;
		if (split_call(&split, clock, frame) > NEAR_WAITS && !emit_waits(clock, frame))
			flags |= CALL_WAITS_LOST;
	}
	record = new_call_record(goroutine, tgid, tid, frame, depth, parent);
	if (!record)
		return false;
	record->kind = CALL_CLOSED;
	record->end = end;
	record->wall = wall;
	record->flags = flags;
	if (keep_clocks)
		record->split = split;
	submit(record);
	return true;
}

/* 4 buckets per power of two: the two bits after the leading one. */
static __always_inline __u32 bucket_of(__u64 ns)
{
	__u32 log = 0;
	__u64 rest = ns;
	__u32 bucket;

	if (ns < 4)
		return ns;
#pragma unroll
	for (int shift = 32; shift; shift >>= 1) {
		if (rest >> shift) {
			rest >>= shift;
			log += shift;
		}
	}
	bucket = ((log - 1) << BUCKET_BITS) + ((ns >> (log - BUCKET_BITS)) & 3);
	return bucket < BUCKETS ? bucket : BUCKETS - 1;
}

/* A per-CPU maximum can be raced for by a thread that preempted us, so it is raised by compare-and-swap. */
static __always_inline void raise(__u64 *maximum, __u64 value)
{
	__u64 seen = *(volatile __u64 *)maximum;

#pragma unroll
	for (int tries = 0; tries < 8; tries++) {
		__u64 before;

		if (seen >= value)
			return;
		before = __sync_val_compare_and_swap(maximum, seen, value);
		if (before == seen)
			return;
		seen = before;
	}
}

static __always_inline void add_split(struct latency *latency, const struct clock *clock,
				      const struct frame *frame, __u64 wall)
{
	if (unlikely(clock->gaps != frame->gaps)) {
		add(&latency->unsplit, 1);
		add(&latency->unsplit_sum, wall);
		return;
	}
	for (__u32 bin = 0; bin < BINS; bin++) {
		__u64 ns = clock->spent.bins[bin] - frame->before.bins[bin];

		if (ns)
			add(&latency->spent.bins[bin], ns);
	}
	if (clock->spent.bins[BIN_WAITING] == frame->before.bins[BIN_WAITING])
		return;
	for (__u32 slot = 0; slot < WAIT_SLOTS; slot++) {
		__u64 ns = clock->spent.waits[slot] - frame->before.waits[slot];

		if (ns)
			add(&latency->spent.waits[slot], ns);
	}
}

/* The row of a function, or of a state; NULL if there is no room. */
static __always_inline struct latency *latency_row(__u32 tgid, __u32 func)
{
	struct function_key key = { .tgid = tgid, .func = func };
	struct latency *latency = bpf_map_lookup_elem(&latencies, &key);

	if (likely(latency))
		return latency;
	bpf_map_update_elem(&latencies, &key, &no_latency, BPF_NOEXIST);
	return bpf_map_lookup_elem(&latencies, &key);
}

static __always_inline void add_wall(struct latency *latency, __u32 end, __u64 wall)
{
	__u32 bucket = bucket_of(wall);

	if (end < END_KINDS)
		add(&latency->ends[end], 1);
	add(&latency->sum, wall);
	raise(&latency->max, wall);
	raise(&latency->inverse_min, ~wall);
	asm volatile("" : "+r"(bucket));
	if (bucket < BUCKETS)
		add(&latency->buckets[bucket], 1);
}

/* Not static: the verifier then looks at it once, not on every path that leads here. 1 if there was room. */
__noinline int aggregate_call(__u32 tgid, __u32 end, __u64 wall, const struct clock *clock,
			      const struct frame *frame)
{
	struct latency *latency;

	if (!clock || !frame)
		return 0;
	latency = latency_row(tgid, frame->func | (__u32)frame->by << BY_SHIFT);
	if (!latency)
		return 0;
	if (keep_clocks)
		add_split(latency, clock, frame, wall);
	add_wall(latency, end, wall);
	return 1;
}

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

static __always_inline bool emit_call(const struct goroutine *goroutine, __u32 tgid, __u32 tid,
				      const struct frame *frame, __u32 depth, __u64 parent, __u32 kind,
				      __u32 end, __u64 wall)
{
	struct call_record *record = bpf_ringbuf_reserve(&records, sizeof(*record), 0);

	if (!record)
		return false;
	__builtin_memset(record, 0, sizeof(*record));
	record->kind = kind;
	record->end = end;
	record->func = frame->func;
	record->start = frame->start;
	record->wall = wall;
	record->id = frame->id;
	record->parent = parent;
	record->goid = goroutine->goid;
	record->tgid = tgid;
	record->tid = tid;
	record->depth = depth;
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

/* Not static: the verifier then looks at it once, not on every path that leads here. 1 if there was room. */
__noinline int aggregate_call(__u32 tgid, __u32 func, __u32 end, __u64 wall)
{
	struct function_key key = { .tgid = tgid, .func = func };
	struct latency *latency = bpf_map_lookup_elem(&latencies, &key);
	__u32 bucket = bucket_of(wall);

	if (unlikely(!latency)) {
		bpf_map_update_elem(&latencies, &key, &no_latency, BPF_NOEXIST);
		latency = bpf_map_lookup_elem(&latencies, &key);
		if (!latency)
			return 0;
	}
	if (end < END_KINDS)
		add(&latency->ends[end], 1);
	add(&latency->sum, wall);
	raise(&latency->max, wall);
	raise(&latency->inverse_min, ~wall);
	if (bucket < BUCKETS)
		add(&latency->buckets[bucket], 1);
	return 1;
}

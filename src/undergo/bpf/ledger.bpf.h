/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The ledger: where every hit went.
 *
 * Uprobe programs are preemptible, and another thread may run the same program on this CPU meanwhile: hence
 * atomic additions even to per-CPU values.
 */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1);
	__type(key, struct function_key);
	__type(value, struct tally);
} tallies SEC(".maps");

/* Takes the hits for which `tallies` had no room. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} overflow SEC(".maps");

static const struct tally no_tally;

static __always_inline void add(__u64 *counter, __u64 n)
{
	__sync_fetch_and_add(counter, n);
}

static __always_inline struct tally *tally_of(__u32 tgid, __u32 func)
{
	struct function_key key = { .tgid = tgid, .func = func };
	struct tally *tally = bpf_map_lookup_elem(&tallies, &key);
	__u32 zero = 0;

	if (likely(tally))
		return tally;
	bpf_map_update_elem(&tallies, &key, &no_tally, BPF_NOEXIST);
	tally = bpf_map_lookup_elem(&tallies, &key);
	return tally ?: bpf_map_lookup_elem(&overflow, &zero);
}

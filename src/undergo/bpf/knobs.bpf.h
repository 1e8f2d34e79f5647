/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What Python sets before loading; zero means off. `active` alone changes while running. */
#pragma once

const volatile struct layout layouts[MAX_EXECUTABLES];
const volatile bool filter_goids; /* only goroutines in `wanted_goids` */
const volatile bool stream_calls; /* a record per call */
const volatile bool aggregate; /* histograms and sums per function */
const volatile bool keep_clocks; /* where the time of each call goes */
const volatile __u32 by_most; /* values that rows are told apart by; 0: none */
const volatile bool filter_calls; /* by what they are given or give back */
const volatile bool capture_values; /* arguments and results */
const volatile bool watch_states; /* every goroutine's status changes */
const volatile __u32 wanted_states; /* bits of enum go_status; 0: all */
const volatile __u64 wanted_slots; /* bits of wait slots; 0: all */
const volatile bool has_bpf_loop;
const volatile bool may_sleep; /* programs that read values were loaded so that they may wait for memory */
const volatile __u64 min_duration; /* ns; shorter calls are filtered */
const volatile __u32 max_depth; /* calls with this many traced callers or more are filtered */
const volatile __u64 wakeup_bytes; /* the reader is woken when this much is waiting */
const volatile __u32 crowded; /* goroutine records beyond which idle ones are given back */

/* A map of its own, so that setting it touches nothing else. */
__u32 active SEC(".data.active") = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u32);
} wanted_goids SEC(".maps");

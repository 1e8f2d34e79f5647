/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What passes between the kernel side and Python: attach cookies, knobs, records, map keys and values.
 * This is the one definition; Python reads the layouts from the BTF of the compiled object.
 */
#pragma once

/* Attach cookie: function (bits 0-23), executable (24-31), sp_to_cfa (32-47), flags (48-63). */
#define COOKIE_FUNC(cookie) ((__u32)(cookie) & 0xffffff)
#define COOKIE_EXECUTABLE(cookie) ((__u32)((cookie) >> 24) & 0xff)
#define COOKIE_SP_TO_CFA(cookie) ((__u32)((cookie) >> 32) & 0xffff)
#define COOKIE_FLAGS(cookie) ((__u32)((cookie) >> 48))

enum cookie_flag {
	COOKIE_RETRY_CHECK = 1, /* on the stack check's jbe: CF or ZF set means "grow and come back" */
	COOKIE_G_FROM_TLS = 2, /* assembly: g is not in its register */
	COOKIE_BARE_RET = 4, /* the function is one RET: a hit is a whole call */
};

#define MAX_EXECUTABLES 16
#define INLINE_FRAMES 8

/* Offsets in runtime.g and runtime.m, one set per executable. */
struct layout {
	__u32 g_m;
	__u32 g_sched_sp;
	__u32 g_atomicstatus;
	__u32 g_goid;
	__u32 g_waitreason;
	__u32 m_curg;
};

/* A goroutine: exec keeps the tgid and may reuse the address, so the exec count belongs to the key. */
struct goroutine_key {
	__u64 g;
	__u32 tgid;
	__u32 exec_id;
};

/* A frame beyond the inline ones; index counts from 0 at the goroutine's outermost open call. */
struct frame_key {
	struct goroutine_key goroutine;
	__u64 index;
};

/* An open call. */
struct frame {
	__u64 depth; /* stack.hi - CFA: survives the copying of the stack */
	__u64 start; /* ns, CLOCK_MONOTONIC */
	__u64 id;
	__u32 func;
	__u32 announced; /* a CALL_OPENED record was delivered */
};

struct goroutine {
	__u64 goid; /* of the user's goroutine, also when this is a g0 */
	__u32 open; /* number of open frames */
	__u32 on_g0;
	struct frame frames[INLINE_FRAMES];
};

enum call_end {
	END_RETURN = 0,
	END_PANIC = 1,
	END_GOEXIT = 2,
	END_DIED = 3,
	END_OPEN = 4,
	END_KINDS = 5,
};

enum record_kind {
	CALL_OPENED = 1,
	CALL_CLOSED = 2,
};

/* One record of the hot ring; every kind has this size, so that a batch decodes as one array. */
struct call_record {
	__u8 kind;
	__u8 end;
	__u16 reserved;
	__u32 func;
	__u64 start; /* ns, CLOCK_MONOTONIC */
	__u64 wall; /* ns; 0 in CALL_OPENED */
	__u64 id;
	__u64 parent; /* id, 0 for a root call */
	__u64 goid;
	__u32 tgid;
	__u32 tid;
	__u32 depth; /* open traced callers */
	__u32 reserved2;
	__u64 spare[7]; /* with the ring header: 128 bytes */
};

enum drop_cause {
	DROP_RING_FULL = 0,
	DROP_GOROUTINES_FULL = 1,
	DROP_FRAMES_FULL = 2,
	DROP_FUNCTIONS_FULL = 3,
	DROP_G_UNREADABLE = 4,
	DROP_G_IMPLAUSIBLE = 5,
	DROP_CAUSES = 6,
};

/* Per function and process; tgid 0 gathers the hits of processes nobody asked about. */
struct function_key {
	__u32 tgid;
	__u32 func;
};

/* hits = delivered + aggregated + filtered + dropped + still open; every field counts calls. */
struct tally {
	__u64 hits;
	__u64 delivered;
	__u64 aggregated;
	__u64 filtered;
	__u64 dropped[DROP_CAUSES];
	__u64 unmatched_exits;
};

/* Log-linear: 4 buckets per power of two; bucket 0-3 are 0-3 ns, the last one takes all that is longer. */
#define BUCKET_BITS 2
#define BUCKETS 176

struct latency {
	__u64 ends[END_KINDS];
	__u64 sum; /* ns */
	__u64 inverse_min; /* ~min: zero-initialised memory then means "none yet" */
	__u64 max; /* ns */
	__u64 buckets[BUCKETS];
};

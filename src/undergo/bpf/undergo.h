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

/* Cookie of an inlined transition: in place of the function, hardware numbers of registers. */
#define CAS_GP(cookie) ((__u32)(cookie) & 15)
#define CAS_NEW(cookie) ((__u32)(cookie) >> 4 & 15)
#define CAS_NEW_IS_LOST(cookie) ((__u32)(cookie) >> 8 & 1) /* overwritten: read g.atomicstatus */
/* A birth has the number of the register with the new g, and which of its executable's sites it is. */
#define BIRTH_G(cookie) ((__u32)(cookie) & 15)
#define BIRTH_SITE(cookie) (COOKIE_FUNC(cookie) >> 12)

#define MAX_EXECUTABLES 16
#define INLINE_FRAMES 8
#define WAIT_REASONS 64 /* values of g.waitreason, of which Go 1.27 has 47; and what we tell apart */
#define WAIT_SLOTS 24 /* what a clock tells apart; its last one takes all other reasons */

/* What differs from executable to executable. */
struct layout {
	__u64 code_start; /* the lowest address of code, as linked */
	__u32 only_targets; /* of its processes, only those in `targets` are traced */
	/* offsets in runtime.g and runtime.m */
	__u32 g_m;
	__u32 g_sched_sp;
	__u32 g_atomicstatus;
	__u32 g_goid;
	__u32 g_waitreason;
	__u32 g_gopc;
	__u32 g_startpc;
	__u32 m_curg;
	/* runtime.park_m, relative to the probe in casgstatus; both 0 where g.waitreason can always be trusted */
	__s32 park_low;
	__s32 park_high;
	__u32 stale_slot; /* of a wait whose reason cannot be trusted */
	__u32 preempted_slot;
	__u8 wait_slots[WAIT_REASONS]; /* slot of each value of g.waitreason */
};

/* runtime2.go, Go 1.17 to 1.27. */
enum go_status {
	GO_IDLE = 0,
	GO_RUNNABLE = 1,
	GO_RUNNING = 2,
	GO_SYSCALL = 3,
	GO_WAITING = 4,
	GO_DEAD = 6,
	GO_COPYSTACK = 8,
	GO_PREEMPTED = 9,
	GO_LEAKED = 10, /* 1.26 and later: still waiting */
	GO_DEADEXTRA = 11, /* 1.26 and later */
	GO_SCAN = 0x1000, /* or'ed to the others while somebody scans the stack */
};

/* The bins of a goroutine's clock; their sum is the wall time. */
enum bin {
	BIN_RUNNING = 0,
	BIN_DESCHEDULED = 1,
	BIN_SYSCALL = 2,
	BIN_RUNNABLE = 3,
	BIN_WAITING = 4,
	BINS = 5,
};

/* ns per bin, and per wait reason: the waits add up to the bin `waiting`. */
struct times {
	__u64 bins[BINS];
	__u64 waits[WAIT_SLOTS];
};

/* Where a goroutine's time went since we know it. */
struct clock {
	struct times spent; /* up to `since` */
	__u64 since; /* ns, CLOCK_MONOTONIC */
	__u64 pend; /* ns its thread was switched out inside our own program */
	__u32 tid; /* of the thread that runs it, 0 if none does */
	__u32 gaps; /* transitions that must have been missed */
	__u8 bin; /* it is in now */
	__u8 slot; /* of the wait it is in */
	__u8 busy; /* one of our programs is at it */
	__u8 reserved;
	/* Wait reasons counted so far, while they are: a number here need not be followed by the verifier. */
	__u32 found;
};

/* A thread: which goroutine it runs, as far as that is traced. */
struct thread {
	__u64 g;
	__u64 g0; /* while a call on the system stack is traced */
	__u64 in; /* when it last came onto a CPU, ns, CLOCK_MONOTONIC */
	__u64 out; /* when it last left one */
	__u64 offset; /* CLOCK_MONOTONIC minus the scheduler's clock */
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
	__u32 gaps; /* of the clock, at the start */
	__u16 rejected; /* a filter did, at its return */
	__u16 by; /* number of the value that its row is of, BY_NONE without --by */
	struct times before; /* the clock's, at the start */
};

struct goroutine {
	__u64 goid; /* of the user's goroutine, also when this is a g0 */
	__u32 open; /* number of open frames */
	__u32 on_g0; /* this is a system stack */
	struct clock clock;
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
	CALL_WAITS = 3,
	STATE_CHANGED = 4,
	GOROUTINE_BORN = 5,
	GOROUTINE_ENDED = 6, /* in a summary: what it did */
};

enum call_flag {
	CALL_HAS_SPLIT = 1, /* the clock was kept */
	CALL_HAS_GAP = 2, /* but a transition is missing: only the wall time is right */
	CALL_WAITS_LOST = 4, /* the ring had no room for its CALL_WAITS */
};

#define NEAR_WAITS 2
#define FAR_WAITS 12

/* Where a call's time went: its running time is the wall time less these. */
struct split {
	__u64 bins[BINS - 1]; /* ns, from BIN_DESCHEDULED on */
	__u64 waits[NEAR_WAITS]; /* ns of the first reasons; the others precede in CALL_WAITS records */
	__u8 slots[NEAR_WAITS]; /* of these reasons */
	__u8 reserved[6];
};

/* One record of the hot ring; every kind has this size, so that a batch decodes as one array. */
struct call_record {
	__u8 kind;
	__u8 end;
	__u8 flags;
	__u8 reserved;
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
	struct split split; /* of CALL_CLOSED; with the ring header 128 bytes */
};

/* Wait reasons of the call that the next CALL_CLOSED of this id closes. */
struct waits_record {
	__u8 kind;
	__u8 count;
	__u8 slots[14];
	__u64 id;
	__u64 waits[FAR_WAITS]; /* ns */
};

/* A goroutine of which every change of state is seen. */
#define STATES 4 /* runnable, running, syscall, waiting: GO_RUNNABLE and on */

struct state {
	__u64 goid;
	__u64 since; /* it is in `status`; ns, CLOCK_MONOTONIC */
	__u64 born; /* ns, CLOCK_MONOTONIC; 0: before we looked */
	__u64 longest[STATES]; /* stay, ns */
	__u32 status;
	__u8 slot; /* of the wait it is in */
	__u8 longest_slot; /* of its longest wait */
	__u8 reserved[2];
};

enum state_flag {
	STATE_SPENT_KNOWN = 1,
};

/* Rows in which stays are summed up, in place of functions: the state itself, the wait's slot, births. */
enum state_row {
	STATE_WAITS = 16,
	STATE_BIRTHS = 255,
};

/* As large as a call_record. */
struct state_record {
	__u8 kind;
	__u8 from; /* enum go_status */
	__u8 to;
	__u8 flags;
	__u32 tgid;
	__u8 from_slot; /* of the wait that ended; in GOROUTINE_ENDED of the longest one */
	__u8 to_slot; /* of the wait that begins */
	__u8 site; /* of GOROUTINE_BORN: which of the executable's probes saw it */
	__u8 executable;
	__u32 tid;
	__u64 time; /* ns, CLOCK_MONOTONIC */
	__u64 goid;
	__u64 spent; /* in `from`, ns */
	__u64 other; /* goid of who made it runnable, or of its parent; 0: nobody did */
	__u64 born; /* ns, CLOCK_MONOTONIC; 0: before we looked */
	__s64 go_pc; /* of GOROUTINE_BORN: after its go statement; less the probe's own address */
	__s64 start_pc; /* where it starts; less the probe's own address */
	__u64 longest[STATES]; /* of GOROUTINE_ENDED: stays, ns */
	__u64 reserved[2];
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

/* What to read of an argument or a result: plan/capture.py makes them, fetch.bpf.h runs them. */
#define CAPTURE_PIECES 128 /* of one event; a power of two */
#define CAPTURE_DYNAMIC 8 /* interfaces of one event that are looked into; a power of two */
#define CAPTURE_DATA 4096 /* bytes of one event; a power of two */
#define CAPTURE_READ 1024 /* bytes of one piece, at most; a power of two */
#define SCRATCHES_PER_CPU 4
#define CAPTURE_REGISTERS 11 /* words of the first piece: what Go passes values in, then g, then BP */
#define CAPTURE_SLOTS 64 /* of a map that are looked at; a group has 8 */
#define CAPTURE_STEPS 512 /* through maps and pairs, of one event */
#define CAPTURE_ENTRY 128 /* bytes of a map's key or element: longer ones are behind a pointer */
#define CAPTURES_WITHOUT_LOOP 24 /* steps where the kernel has no bpf_loop */

enum op_kind {
	OP_STACK, /* size bytes at the CFA + offset */
	OP_POINTED, /* size bytes where a pointer points, + offset */
	OP_COUNTED, /* a pointer and a count: count * stride bytes, at most size */
	OP_DYNAMIC, /* what an interface holds: the ops of its type follow, once all others are done */
	OP_BUCKETS, /* the first entries of a map up to Go 1.23; `at` is where runtime.hmap has `buckets` */
	OP_GROUPS, /* the same since Go 1.24; `at` is where internal/runtime/maps.Map has `dirPtr` */
	OP_FIND, /* of pairs of strings the second, whose first is the text `size` */
	OP_FRAMES, /* return addresses: our own, then those that a chain of frame pointers leads to */
};

struct op {
	__u32 kind;
	__u16 from; /* number of the piece that holds the pointer; the registers are piece 0 */
	__u16 at; /* where in it, in bytes */
	__u32 size;
	__u32 stride; /* OP_DYNAMIC: where the data word is, number of the piece << 16 | bytes from its start */
	__u32 offset;
	/* Of maps: size, stride and offset are the keys' in a group of 8 slots, and the elements' << 16. */
	__u16 wanted; /* entries, pairs or frames; what they leave lies side by side, each part in whole words */
	__u16 group; /* bytes from one group to the next */
};

struct text {
	__u64 length;
	__u64 words[8]; /* FILTER_TEXT bytes */
};

/* What an OP_DYNAMIC leaves. In the ops of the type this is piece 0, and the first one they leave is piece 1. */
struct dynamic_piece {
	__u64 type; /* address of the descriptor, as linked */
	__u64 data;
	__u64 first; /* number of the type's first piece, 0 if the type is not known */
};

struct dynamic_key {
	__u64 type;
	__u64 executable;
};

struct op_range {
	__u32 first;
	__u32 count;
};

struct captured {
	__u32 entry_first;
	__u32 exit_first;
	__u16 entry_count;
	__u16 exit_count;
	__u16 entry_wanted;
	__u16 exit_wanted;
};

#define FILTER_TESTS 16 /* of one place */
#define FILTER_TEXT 64 /* bytes of a text; a multiple of 8 */
#define FILTER_ACCEPT 254
#define FILTER_REJECT 255

enum test_kind {
	TEST_UNSIGNED,
	TEST_SIGNED,
	TEST_TEXT,
	TEST_PREFIX,
	TEST_WALL, /* how long the call took */
	TEST_DOUBLE,
	TEST_SINGLE,
};

enum relation {
	IS_EQUAL,
	IS_LESS,
	IS_GREATER,
};

/* One comparison of a filter: plan/filters.py makes them, filter.bpf.h carries them out. */
struct test {
	__u8 kind;
	__u8 relation;
	__u8 on_true; /* where to go on: a test of the same filter, or one of the two above */
	__u8 on_false;
	__u8 on_unread;
	__u8 reserved;
	__u16 piece; /* where the value is; of a text, its length */
	__u16 at;
	__u16 size; /* bytes; of a text, the number of the piece with its bytes */
	__u32 reserved2;
	__u64 value; /* of a text its length */
	__u64 text[FILTER_TEXT / 8];
};

/* What rows are told apart by, beside function and process: an argument. */
#define BY_NONE 0
#define BY_UNREAD 254 /* it could not be read */
#define BY_OTHER 255 /* there were too many values before */
#define BY_SHIFT 24 /* of the number, in function_key.func */

struct by {
	__u32 op;
	__u32 ops;
	__u8 wanted;
	__u8 kind; /* TEST_UNSIGNED, TEST_SIGNED or TEST_TEXT */
	__u16 piece; /* where the value is; of a text, its length */
	__u16 at;
	__u16 size; /* bytes; of a text, the number of the piece with its bytes */
};

struct by_value {
	__u32 length; /* bytes; a text may be longer than we have */
	__u32 is_text;
	__u64 words[FILTER_TEXT / 8];
};

struct filter_at {
	__u32 op;
	__u32 ops;
	__u32 test;
	__u32 tests; /* 0: no filter */
};

struct filter {
	struct filter_at entry;
	struct filter_at exit;
};

enum piece_state {
	PIECE_READ,
	PIECE_NIL, /* the pointer was nil */
	PIECE_UNREADABLE, /* it led to memory that is not there, or not now */
	PIECE_ABSENT, /* what would have held the pointer is not there */
	PIECE_NO_ROOM, /* the event had too much already */
};

struct piece {
	__u32 length;
	__u32 state;
};

struct capture_record {
	__u64 id; /* of the call */
	__u64 bias; /* from addresses as linked to addresses as loaded */
	__u32 func;
	__u16 at_exit;
	__u16 pieces;
	__u8 bytes[CAPTURE_DATA + CAPTURE_READ + 16];
};

/* How far a capture has got stands here, not on the stack: the verifier then need not follow each number. */
struct scratch {
	__u32 busy;
	__u32 op; /* the next one */
	__u32 end;
	__u32 cursor; /* in record.bytes */
	__u32 piece; /* the next one's number */
	__u32 self; /* number of the piece that the ops at work call 0 */
	__u32 base; /* and of the one they call 1 */
	__u32 executable;
	__u32 queued;
	__u32 begun; /* of those queued */
	__u64 cfa;
	/* a map that is looked at: slots 0: none is */
	__u32 slots;
	__u32 slot; /* the next one */
	__u32 entries; /* that were found */
	__u32 unused;
	__u64 groups;
	__u64 control; /* a byte for each slot of the group */
	struct {
		__u32 op;
		__u32 end;
		__u32 self;
		__u32 unused;
	} queue[CAPTURE_DYNAMIC];
	__u16 places[CAPTURE_PIECES]; /* where each piece begins */
	struct capture_record record;
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
	struct times spent;
	__u64 unsplit; /* calls with a gap in their clock; their times are not in `spent` */
	__u64 unsplit_sum; /* ns */
	__u64 buckets[BUCKETS];
};

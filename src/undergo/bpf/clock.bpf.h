/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Where the time goes: each goroutine inside a traced call has a clock with bins whose sum is the wall time.
 *
 * running        its thread is on a CPU
 * descheduled    the kernel took its thread off the CPU (sched_switch)
 * syscall        between sys_enter and sys_exit of its thread
 * runnable       ready, waiting for a P (casgstatus)
 * waiting        blocked, split by g.waitreason (casgstatus)
 *
 * Which goroutine a thread runs is written on both sides, thread.g and clock.tid, and holds only while both
 * agree: a thread goes on to another goroutine without a word to the one it left.
 */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct thread);
} threads SEC(".maps");

/* Times the clock had to be set right, because this kernel did not show a switch or a system call's end. */
__u64 clock_repairs;

static __always_inline struct thread *thread_of(struct task_struct *task)
{
	return bpf_task_storage_get(&threads, task, NULL, 0);
}

/* Books the time since the last change. */
static __always_inline void advance(struct clock *clock, __u64 now)
{
	__u64 ns = now - clock->since;
	__u32 bin = clock->bin, slot = clock->slot;

	asm volatile("" : "+r"(bin), "+r"(slot));
	if (bin < BINS)
		clock->spent.bins[bin] += ns;
	if (bin == BIN_WAITING && slot < WAIT_SLOTS)
		clock->spent.waits[slot] += ns;
	clock->since = now;
}

static __always_inline void change_bin(struct clock *clock, __u32 bin, __u64 now)
{
	advance(clock, now);
	clock->bin = bin;
}

/* The clock never runs backwards: what came between taking `now` and holding it has been booked. */
static __always_inline __u64 not_before(const struct clock *clock, __u64 now)
{
	return now < clock->since ? clock->since : now;
}

/* From now on the two agree. */
static __always_inline void runs_on(struct goroutine *goroutine, __u64 g, struct task_struct *task)
{
	struct thread *thread = bpf_task_storage_get(&threads, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	goroutine->clock.tid = task->pid;
	if (!thread)
		goroutine->clock.gaps++;
	else if (goroutine->on_g0)
		thread->g0 = g;
	else
		thread->g = g;
}

/*
 * Some kernels hide switches of some threads: it runs though it was last seen leaving the CPU, or in a system call.
 * The scheduler's own books tell when it came back.
 */
static __always_inline void repair(struct clock *clock, struct task_struct *task, __u64 now)
{
	struct thread *thread = thread_of(task);
	__u64 in = now;

	__sync_fetch_and_add(&clock_repairs, 1);
	if (thread && thread->offset && clock->bin == BIN_DESCHEDULED &&
	    __builtin_preserve_field_info(task->sched_info.last_arrival, FIELD_EXISTS)) {
		in = task->sched_info.last_arrival + thread->offset;
		if (in < clock->since || in > now)
			in = now;
	}
	change_bin(clock, BIN_RUNNING, in);
}

/*
 * An event of the goroutine that this very thread runs: until let_go() a switch of this thread, which can happen
 * inside our program, only adds to `pend`. Returns the event's time.
 */
static __always_inline __u64 hold(struct goroutine *goroutine, __u64 g, struct task_struct *task, __u64 now)
{
	struct clock *clock = &goroutine->clock;

	*(volatile __u8 *)&clock->busy = 1;
	now = not_before(clock, now);
	if (unlikely(clock->tid != (__u32)task->pid || clock->bin > BIN_SYSCALL)) {
		/* It runs though we never saw it come: whatever the time's bin was, it was not this one. */
		clock->gaps++;
		change_bin(clock, BIN_RUNNING, now);
		runs_on(goroutine, g, task);
	} else if (unlikely(clock->bin != BIN_RUNNING)) {
		repair(clock, task, now);
	}
	return now;
}

static __always_inline void let_go(struct clock *clock)
{
	__u64 pend = *(volatile __u64 *)&clock->pend;

	if (unlikely(pend)) {
		clock->pend = 0;
		if (clock->bin == BIN_RUNNING) {
			clock->spent.bins[BIN_DESCHEDULED] += pend;
			clock->since += pend;
		}
	}
	*(volatile __u8 *)&clock->busy = 0;
}

/* Before an entry or exit is dealt with: at a goroutine's first open call its clock starts. */
static __always_inline __u64 hold_at_call(struct goroutine *goroutine, __u64 g, __u64 now)
{
	struct task_struct *task = bpf_get_current_task_btf();

	if (goroutine->open) {
		now = hold(goroutine, g, task, now);
		advance(&goroutine->clock, now);
		return now;
	}
	*(volatile __u8 *)&goroutine->clock.busy = 1;
	goroutine->clock.bin = BIN_RUNNING;
	goroutine->clock.since = now;
	goroutine->clock.pend = 0;
	runs_on(goroutine, g, task);
	return now;
}

/* And after it. */
static __always_inline void let_go_at_call(struct goroutine *goroutine)
{
	let_go(&goroutine->clock);
	if (!goroutine->open)
		goroutine->clock.tid = 0;
}

/* The wait reason's slot, read where the runtime has just written it. */
static __always_inline __u32 wait_slot(const volatile struct layout *layout, __u64 g)
{
	__u8 reason = 0;

	if (bpf_probe_read_user(&reason, 1, (void *)(g + layout->g_waitreason)))
		return WAIT_REASONS - 1;
	return layout->wait_slots[reason & (WAIT_REASONS - 1)];
}

/*
 * The runtime takes goroutine `g`, which may be any, to another status. `slot` is the wait's, or READ_REASON.
 */
#define READ_REASON (~0U)

static __always_inline void clock_transition(const volatile struct layout *layout, __u64 g, __u32 status,
					     __u32 slot, __u64 now)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct goroutine_key key = {};
	struct goroutine *goroutine;
	struct clock *clock;
	__u32 bin;

	goroutine_key_of(&key, g, task->tgid);
	goroutine = find_goroutine(&key);
	if (!goroutine || !goroutine->open)
		return;
	clock = &goroutine->clock;
	if (status == GO_RUNNING) {
		*(volatile __u8 *)&clock->busy = 1;
		change_bin(clock, BIN_RUNNING, not_before(clock, now));
		runs_on(goroutine, g, task);
		let_go(clock);
		return;
	}
	if (status == GO_WAITING || status == GO_PREEMPTED)
		bin = BIN_WAITING;
	else if (status == GO_RUNNABLE)
		bin = BIN_RUNNABLE;
	else
		return;
	if (bin == BIN_RUNNABLE && clock->tid != (__u32)task->pid) {
		/* made ready by another goroutine, a timer, the network poller */
		change_bin(clock, BIN_RUNNABLE, not_before(clock, now));
		return;
	}
	now = hold(goroutine, g, task, now);
	change_bin(clock, bin, now);
	if (bin == BIN_WAITING) {
		if (slot == READ_REASON)
			slot = wait_slot(layout, g);
		clock->slot = slot < WAIT_SLOTS ? slot : WAIT_SLOTS - 1;
	}
	clock->tid = 0;
	let_go(clock);
}

/* The clock of a goroutine that a thread is said to run, if the goroutine says so too. */
static __always_inline struct clock *clock_on(struct task_struct *task, __u64 g)
{
	struct goroutine_key key = { .g = g, .tgid = task->tgid, .exec_id = task->self_exec_id };
	struct goroutine *goroutine;

	if (!g)
		return NULL;
	goroutine = find_goroutine(&key);
	if (!goroutine || goroutine->clock.tid != (__u32)task->pid)
		return NULL;
	return &goroutine->clock;
}

static __always_inline void leave_cpu(struct clock *clock, __u64 now)
{
	if (clock && !*(volatile __u8 *)&clock->busy && clock->bin == BIN_RUNNING)
		change_bin(clock, BIN_DESCHEDULED, not_before(clock, now));
}

static __always_inline void come_back(struct clock *clock, const struct thread *thread, __u64 now)
{
	if (!clock)
		return;
	if (*(volatile __u8 *)&clock->busy)
		clock->pend += now - thread->out;
	else if (clock->bin == BIN_DESCHEDULED)
		change_bin(clock, BIN_RUNNING, not_before(clock, now));
}

static __always_inline void off_cpu(struct task_struct *task, __u64 now)
{
	struct thread *thread = thread_of(task);

	if (likely(!thread))
		return;
	thread->out = now;
	if (thread->in && __builtin_preserve_field_info(task->sched_info.last_arrival, FIELD_EXISTS))
		thread->offset = thread->in - task->sched_info.last_arrival;
	leave_cpu(clock_on(task, thread->g), now);
	leave_cpu(clock_on(task, thread->g0), now);
}

static __always_inline void on_cpu(struct task_struct *task, __u64 now)
{
	struct thread *thread = thread_of(task);

	if (likely(!thread))
		return;
	thread->in = now;
	come_back(clock_on(task, thread->g), thread, now);
	come_back(clock_on(task, thread->g0), thread, now);
}

static __always_inline void system_call(__u32 from, __u32 to)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct thread *thread = thread_of(task);
	struct clock *clock;
	__u64 now;

	if (likely(!thread))
		return;
	now = bpf_ktime_get_ns();
	clock = clock_on(task, thread->g);
	if (clock && clock->bin == from)
		change_bin(clock, to, not_before(clock, now));
	clock = clock_on(task, thread->g0);
	if (clock && clock->bin == from)
		change_bin(clock, to, not_before(clock, now));
}

/* What a call spent: the clock now, less the clock at its start. Returns the number of its wait reasons. */
__noinline int split_call(struct split *split, struct clock *clock, const struct frame *frame)
{
	__u32 found;

	if (!split || !clock || !frame)
		return 0;
	__builtin_memset(split, 0, sizeof(*split));
	clock->found = 0;
	for (__u32 bin = 1; bin < BINS; bin++)
		split->bins[bin - 1] = clock->spent.bins[bin] - frame->before.bins[bin];
	for (__u32 slot = 0; slot < WAIT_SLOTS; slot++) {
		__u64 ns = clock->spent.waits[slot] - frame->before.waits[slot];

		if (!ns)
			continue;
		found = *(volatile __u32 *)&clock->found;
		if (found < NEAR_WAITS) {
			split->slots[found & (NEAR_WAITS - 1)] = slot;
			split->waits[found & (NEAR_WAITS - 1)] = ns;
		}
		clock->found = found + 1;
	}
	return *(volatile __u32 *)&clock->found;
}

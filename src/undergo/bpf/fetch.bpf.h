/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Arguments and results: what to read is data, a list of ops per function, made by plan/capture.py.
 *
 * Each op leaves a piece: its length, its state, its bytes. An op may follow a pointer that an earlier piece holds.
 * Pieces pile up in a scratch record that is taken for the time of one event, and leave through a ring of their own.
 */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} captures SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct op);
} ops SEC(".maps");

/* The ops of what interfaces hold, by its type. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct dynamic_key);
	__type(value, struct op_range);
} dynamic_types SEC(".maps");

/* What OP_FIND looks for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct text);
} texts SEC(".maps");

/* By function: which ops. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct captured);
} captured SEC(".maps");

/*
 * Not per CPU: a program may be preempted, and another run on its CPU meanwhile. There are a few for each CPU, and
 * `busy` says who has one.
 */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct scratch);
} scratches SEC(".maps");

/* Events whose arguments or results found no scratch or no room in the ring. */
__u64 captures_lost;

static __always_inline struct piece *piece_at(struct scratch *scratch, __u32 place)
{
	asm volatile("" : "+r"(place));
	return (struct piece *)&scratch->record.bytes[place & (CAPTURE_DATA - 1)];
}

static __always_inline __u64 word_at(struct scratch *scratch, __u32 place)
{
	asm volatile("" : "+r"(place));
	return *(__u64 *)&scratch->record.bytes[place & (CAPTURE_DATA - 1)];
}

/* Memory of the target; what is not resident is waited for where that can be. False: it could not be read. */
static __always_inline bool read_memory(void *to, __u32 size, __u64 from)
{
	if (!bpf_probe_read_user(to, size, (void *)from))
		return true;
	return may_sleep && !bpf_copy_from_user(to, size, (void *)from);
}

/* The piece that an op calls by this number; NULL if it does not reach so far. */
static __always_inline struct piece *holder_of(struct scratch *scratch, __u32 origin, __u32 at, __u32 words,
					       __u32 *place)
{
	__u32 index = origin ? scratch->base + origin - 1 : scratch->self;
	struct piece *holder;

	asm volatile("" : "+r"(index));
	*place = scratch->places[index & (CAPTURE_PIECES - 1)];
	holder = piece_at(scratch, *place);
	*place += sizeof(*holder) + at;
	return at + words > holder->length ? NULL : holder;
}

/* Where the bytes are, how many; false where there are none, `state` says why. */
static __always_inline bool source_of(struct scratch *scratch, const struct op *op, struct piece *piece,
				      __u64 *from, __u32 *size)
{
	__u32 words = op->kind == OP_COUNTED ? 16 : 8, place;
	__u64 count;

	*size = op->size;
	if (op->kind == OP_STACK) {
		*from = scratch->cfa + op->offset;
		return true;
	}
	piece->state = PIECE_ABSENT;
	if (!holder_of(scratch, op->from, op->at, words, &place))
		return false;
	*from = word_at(scratch, place);
	if (op->kind == OP_COUNTED) {
		count = word_at(scratch, place + 8);
		piece->state = PIECE_READ;
		if (!count)
			return false;
		if (count < op->size)
			*size = count * op->stride < op->size ? count * op->stride : op->size;
	}
	piece->state = PIECE_NIL;
	if (!*from)
		return false;
	*from += op->offset;
	return true;
}

/* Notes what an interface holds, and that the ops of its type are to be run. */
static __always_inline void fetch_dynamic(struct scratch *scratch, const struct op *op, struct piece *piece,
					  __u32 cursor, __u32 number)
{
	struct dynamic_key key = { .executable = scratch->executable };
	__u32 type_place, data_place, turn = scratch->queued;
	struct dynamic_piece *dynamic;
	struct op_range *range;

	piece->state = PIECE_ABSENT;
	if (!holder_of(scratch, op->from, op->at, 8, &type_place) ||
	    !holder_of(scratch, op->stride >> 16, op->stride & 0xffff, 8, &data_place))
		return;
	asm volatile("" : "+r"(cursor));
	dynamic = (struct dynamic_piece *)&scratch->record
			  .bytes[(cursor & (CAPTURE_DATA - 1)) + sizeof(*piece)];
	dynamic->type = word_at(scratch, type_place);
	dynamic->data = word_at(scratch, data_place);
	dynamic->first = 0;
	piece->state = PIECE_NIL;
	if (!dynamic->type)
		return;
	dynamic->type -= scratch->record.bias;
	piece->state = PIECE_READ;
	piece->length = sizeof(*dynamic);
	scratch->cursor += sizeof(*dynamic);
	key.type = dynamic->type;
	range = bpf_map_lookup_elem(&dynamic_types, &key);
	if (!range || turn >= CAPTURE_DYNAMIC)
		return;
	asm volatile("" : "+r"(turn));
	turn &= CAPTURE_DYNAMIC - 1;
	scratch->queue[turn].op = range->first;
	scratch->queue[turn].end = range->first + range->count;
	scratch->queue[turn].self = number;
	scratch->queued++;
}

/* Goes on with the next queued type; false if there is none. */
static __always_inline bool next_range(struct scratch *scratch)
{
	__u32 turn = scratch->begun, place, self;

	if (turn >= scratch->queued || turn >= CAPTURE_DYNAMIC)
		return false;
	asm volatile("" : "+r"(turn));
	turn &= CAPTURE_DYNAMIC - 1;
	self = scratch->queue[turn].self;
	scratch->op = scratch->queue[turn].op;
	scratch->end = scratch->queue[turn].end;
	scratch->self = self;
	scratch->base = scratch->piece;
	asm volatile("" : "+r"(self));
	place = scratch->places[self & (CAPTURE_PIECES - 1)];
	asm volatile("" : "+r"(place));
	((struct dynamic_piece *)&scratch->record.bytes[(place & (CAPTURE_DATA - 1)) + sizeof(struct piece)])
		->first = scratch->piece;
	scratch->begun++;
	return true;
}

/* Reads a key or an element to the end of a piece; false if there is no room, or it cannot be read. */
static __always_inline bool append(struct scratch *scratch, struct piece *piece, __u64 from, __u32 size)
{
	__u32 at = scratch->cursor;

	if (at + size > CAPTURE_DATA - 64) {
		piece->state = PIECE_NO_ROOM;
		return false;
	}
	asm volatile("" : "+r"(size), "+r"(at));
	size &= 2 * CAPTURE_ENTRY - 1;
	if (size > CAPTURE_ENTRY)
		size = CAPTURE_ENTRY;
	if (size && !read_memory(&scratch->record.bytes[at & (CAPTURE_DATA - 1)], size, from)) {
		piece->state = PIECE_UNREADABLE;
		return false;
	}
	size = (size + 7) & ~7U;
	piece->length += size;
	scratch->cursor += size;
	return true;
}

/* Where a map's groups are, and how many slots they have; false if there are none to look at. */
static __always_inline bool find_groups(struct scratch *scratch, const struct op *op, struct piece *piece)
{
	__u64 groups = 1, directory[2], beside;
	__u32 place;

	piece->state = PIECE_ABSENT;
	if (!holder_of(scratch, op->from, op->at, op->kind == OP_FRAMES ? 8 : 16, &place))
		return false;
	scratch->groups = word_at(scratch, place);
	if (op->kind == OP_BUCKETS) {
		beside = word_at(scratch, place - 8) >> 8 & 0xff; /* hmap.B: there are 2^B buckets */
		groups = beside < 8 ? 1 << (beside & 7) : CAPTURE_SLOTS;
	} else if (op->kind == OP_GROUPS && word_at(scratch, place + 8)) {
		/* a directory of tables: table.groups is {data, lengthMask} at 16 */
		piece->state = PIECE_UNREADABLE;
		if (!read_memory(&beside, sizeof(beside), scratch->groups) ||
		    !read_memory(directory, sizeof(directory), beside + 16))
			return false;
		scratch->groups = directory[0];
		groups = directory[1] + 1;
	} else if (op->kind == OP_FIND) {
		scratch->slots = op->wanted;
		return true;
	} else if (op->kind == OP_FRAMES) {
		scratch->slots = op->wanted;
		return append(scratch, piece, scratch->cfa - 8, 8);
	}
	piece->state = PIECE_NIL;
	if (!scratch->groups)
		return false;
	scratch->slots = groups < CAPTURE_SLOTS / 8 ? groups * 8 : CAPTURE_SLOTS;
	return true;
}

/* One slot of a map; false if there are no more to look at. */
static __always_inline bool fetch_slot(struct scratch *scratch, const struct op *op, struct piece *piece)
{
	__u32 slot = scratch->slot, in_group = slot & 7, byte;
	__u64 group = scratch->groups + (slot >> 3) * op->group;

	if (!in_group && !read_memory(&scratch->control, sizeof(scratch->control), group)) {
		piece->state = PIECE_UNREADABLE;
		return false;
	}
	/* runtime/map.go: a tophash below minTopHash, 5, is none; maps/group.go: the uppermost bit is of slots not used */
	byte = scratch->control >> 8 * in_group & 0xff;
	if (op->kind == OP_BUCKETS ? byte < 5 : byte & 0x80)
		return true;
	if (!append(scratch, piece, group + (op->offset & 0xffff) + in_group * (op->stride & 0xffff),
		    op->size & 0xffff) ||
	    !append(scratch, piece, group + (op->offset >> 16) + in_group * (op->stride >> 16),
		    op->size >> 16))
		return false;
	scratch->entries++;
	return scratch->entries < op->wanted;
}

/* One pair of strings; false if it was the one, or there are no more. */
static __always_inline bool compare_pair(struct scratch *scratch, const struct op *op, struct piece *piece)
{
	__u32 at = op->at + scratch->slot * 32, key = op->size, place, size;
	struct text *text = bpf_map_lookup_elem(&texts, &key);
	__u64 words[8] = {}, *bytes, differs = 0;

	if (!text || !holder_of(scratch, op->from, at, 32, &place))
		return false;
	if (word_at(scratch, place + 8) != text->length)
		return true;
	size = text->length;
	asm volatile("" : "+r"(size));
	size &= 2 * sizeof(words) - 1;
	if (size > sizeof(words))
		size = sizeof(words);
	if (size && !read_memory(words, size, word_at(scratch, place)))
		return true;
	for (__u32 word = 0; word < 8; word++)
		differs |= words[word] ^ text->words[word];
	if (differs)
		return true;
	at = scratch->cursor;
	asm volatile("" : "+r"(at));
	bytes = (__u64 *)&scratch->record.bytes[at & (CAPTURE_DATA - 1)];
	bytes[0] = word_at(scratch, place + 16);
	bytes[1] = word_at(scratch, place + 24);
	piece->state = PIECE_READ;
	piece->length = 16;
	scratch->cursor += 16;
	return false;
}

/* One frame: the caller's frame pointer lies at ours, the return address above it; false if there are no more. */
static __always_inline bool fetch_frame(struct scratch *scratch, struct piece *piece)
{
	__u64 pair[2], pointer = scratch->groups;
	__u32 at = scratch->cursor;

	if (!pointer || at + 8 > CAPTURE_DATA - 64 || !read_memory(pair, sizeof(pair), pointer))
		return false;
	/* where the function has set up its frame already, the first one is its own */
	if (pointer + 16 != scratch->cfa) {
		if (!pair[1])
			return false;
		asm volatile("" : "+r"(at));
		*(__u64 *)&scratch->record.bytes[at & (CAPTURE_DATA - 1)] = pair[1];
		piece->length += 8;
		scratch->cursor += 8;
	}
	scratch->groups = pair[0];
	return pair[0] > pointer; /* callers lie higher up */
}

/*
 * An op that takes a step for each slot or pair, so that no loop is in it: the first step begins its piece.
 * Not static: the verifier then looks at it once. 1 if nothing more can be read.
 */
__noinline int fetch_entry(struct scratch *scratch, struct op *op)
{
	__u32 number, place;
	struct piece *piece;
	bool more;

	if (!scratch || !op)
		return 1;
	number = scratch->piece;
	asm volatile("" : "+r"(number));
	number &= CAPTURE_PIECES - 1;
	if (!scratch->slots) {
		place = scratch->cursor;
		if (place + sizeof(*piece) + sizeof(struct dynamic_piece) > CAPTURE_DATA - 64)
			return 1;
		scratch->places[number] = place;
		piece = piece_at(scratch, place);
		piece->length = 0;
		scratch->cursor = place + sizeof(*piece);
		scratch->slot = 0;
		scratch->entries = 0;
		more = find_groups(scratch, op, piece);
		if (more)
			piece->state = op->kind == OP_FIND ? PIECE_ABSENT : PIECE_READ;
	} else {
		piece = piece_at(scratch, scratch->places[number]);
		more = op->kind == OP_FIND     ? compare_pair(scratch, op, piece)
		       : op->kind == OP_FRAMES ? fetch_frame(scratch, piece)
					       : fetch_slot(scratch, op, piece);
		scratch->slot++;
		more = more && scratch->slot < scratch->slots;
	}
	if (!more) {
		scratch->slots = 0;
		scratch->op++;
		scratch->piece++;
	}
	return 0;
}

static long fetch_one(__u32 step, struct scratch **context)
{
	struct scratch *scratch = *context;
	__u32 index = scratch->op, cursor = scratch->cursor, number = scratch->piece, size;
	struct piece *piece;
	struct op *op;
	__u64 from = 0;

	if (number >= CAPTURE_PIECES)
		return 1;
	if (index >= scratch->end)
		return !next_range(scratch);
	op = bpf_map_lookup_elem(&ops, &index);
	if (!op)
		return 1;
	if (op->kind > OP_DYNAMIC) {
		long done = fetch_entry(scratch, op);

		asm volatile("" : "+r"(done));
		return done & 1; /* else the compiler knows that this is a bool, and the verifier does not */
	}
	scratch->op = index + 1;
	scratch->piece = number + 1;
	asm volatile("" : "+r"(number));
	scratch->places[number & (CAPTURE_PIECES - 1)] = cursor;
	piece = piece_at(scratch, cursor);
	piece->length = 0;
	piece->state = PIECE_NO_ROOM;
	scratch->cursor = cursor + sizeof(*piece);
	if (cursor + sizeof(*piece) + sizeof(struct dynamic_piece) > CAPTURE_DATA - 64) {
		scratch->cursor = cursor;
		scratch->piece = number;
		return 1;
	}
	if (op->kind == OP_DYNAMIC) {
		fetch_dynamic(scratch, op, piece, cursor, number);
		return 0;
	}
	if (!source_of(scratch, op, piece, &from, &size))
		return 0;
	if (cursor + sizeof(*piece) + size > CAPTURE_DATA - 64) {
		piece->state = PIECE_NO_ROOM;
		return 0;
	}
	asm volatile("" : "+r"(size), "+r"(cursor));
	size &= 2 * CAPTURE_READ - 1;
	if (size > CAPTURE_READ)
		size = CAPTURE_READ;
	piece->state = PIECE_UNREADABLE;
	if (size &&
	    !read_memory(&scratch->record.bytes[(cursor & (CAPTURE_DATA - 1)) + sizeof(*piece)], size, from))
		return 0;
	piece->state = PIECE_READ;
	piece->length = size;
	scratch->cursor += (size + 7) & ~7U;
	return 0;
}

/* Not static: the verifier then looks at it once, not on every path that leads here. */
__noinline int fetch_all(struct scratch *scratch)
{
	if (!scratch)
		return 0;
	if (has_bpf_loop) {
		bpf_loop(CAPTURE_PIECES + CAPTURE_DYNAMIC + CAPTURE_STEPS, fetch_one, &scratch, 0);
	} else {
		for (int i = 0; i < CAPTURES_WITHOUT_LOOP; i++)
			if (fetch_one(i, &scratch))
				break;
	}
	return 1;
}

static __always_inline struct scratch *take_scratch(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	for (__u32 i = 0; i < SCRATCHES_PER_CPU; i++) {
		__u32 key = cpu * SCRATCHES_PER_CPU + i;
		struct scratch *scratch = bpf_map_lookup_elem(&scratches, &key);

		if (scratch && !__sync_val_compare_and_swap(&scratch->busy, 0, 1))
			return scratch;
	}
	return NULL;
}

static __always_inline void give_back(struct scratch *scratch)
{
	*(volatile __u32 *)&scratch->busy = 0;
}

/* The registers that Go passes values in, in its order, are the first piece of every capture. */
static __always_inline void fetch_registers(struct scratch *scratch, const struct pt_regs *regs, __u64 g)
{
	struct piece *piece = (struct piece *)scratch->record.bytes;
	__u64 *values = (__u64 *)&scratch->record.bytes[sizeof(*piece)];

	scratch->places[0] = 0;
	piece->state = PIECE_READ;
	piece->length = CAPTURE_REGISTERS * 8;
	values[0] = regs->ax;
	values[1] = regs->bx;
	values[2] = regs->cx;
	values[3] = regs->di;
	values[4] = regs->si;
	values[5] = regs->r8;
	values[6] = regs->r9;
	values[7] = regs->r10;
	values[8] = regs->r11;
	values[9] = g;
	values[10] = regs->bp;
}

/* Runs ops at a probe; their pieces are then in the scratch. */
static __always_inline void fetch(struct scratch *scratch, const struct pt_regs *regs, __u64 cookie, __u64 g,
				  __u32 first, __u32 count)
{
	struct task_struct *task = bpf_get_current_task_btf();

	scratch->cfa = regs->sp + COOKIE_SP_TO_CFA(cookie);
	scratch->op = first;
	scratch->end = first + count;
	scratch->cursor = sizeof(struct piece) + CAPTURE_REGISTERS * 8;
	scratch->piece = 1;
	scratch->self = 0;
	scratch->base = 1;
	scratch->queued = 0;
	scratch->begun = 0;
	scratch->slots = 0;
	scratch->executable = COOKIE_EXECUTABLE(cookie);
	scratch->record.bias = task->mm->start_code - layout_of(cookie)->code_start;
	fetch_registers(scratch, regs, g);
	fetch_all(scratch);
}

/* What a call was given, or what it gives back. */
static __always_inline void capture(const struct pt_regs *regs, __u64 cookie, __u64 g, __u64 id, bool at_exit)
{
	__u32 func = COOKIE_FUNC(cookie);
	struct captured *what = bpf_map_lookup_elem(&captured, &func);
	struct scratch *scratch;
	__u64 length;
	bool much;

	if (!what || !(at_exit ? what->exit_wanted : what->entry_wanted))
		return;
	scratch = take_scratch();
	if (!scratch) {
		__sync_fetch_and_add(&captures_lost, 1);
		return;
	}
	fetch(scratch, regs, cookie, g, at_exit ? what->exit_first : what->entry_first,
	      at_exit ? what->exit_count : what->entry_count);
	scratch->record.id = id;
	scratch->record.func = func;
	scratch->record.at_exit = at_exit;
	scratch->record.pieces = scratch->piece;
	length = sizeof(scratch->record) - sizeof(scratch->record.bytes) + scratch->cursor;
	much = bpf_ringbuf_query(&captures, BPF_RB_AVAIL_DATA) >= wakeup_bytes;
	asm volatile("" : "+r"(length));
	if (length > sizeof(scratch->record))
		length = sizeof(scratch->record);
	if (bpf_ringbuf_output(&captures, &scratch->record, length,
			       much ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP))
		__sync_fetch_and_add(&captures_lost, 1);
	give_back(scratch);
}

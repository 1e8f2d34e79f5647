/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Whether a call is wanted: tests of what it was given, or gave back, made before anything is kept of it. */
#pragma once

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct test);
} tests SEC(".maps");

/* By function. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct filter);
} filters SEC(".maps");

/* Calls that no scratch was free for: they count as filtered, for nobody knows. */
__u64 untested;

/* The bytes of a piece; NULL where there are not so many. */
static __always_inline void *bytes_of(struct scratch *scratch, __u32 number, __u32 at, __u32 size)
{
	struct piece *piece;
	__u32 place;

	asm volatile("" : "+r"(number));
	place = scratch->places[number & (CAPTURE_PIECES - 1)];
	piece = piece_at(scratch, place);
	if (number >= scratch->piece || piece->state != PIECE_READ || at + size > piece->length)
		return NULL;
	place += sizeof(*piece) + at;
	asm volatile("" : "+r"(place));
	return &scratch->record.bytes[place & (CAPTURE_DATA - 1)];
}

static __always_inline __u64 number_in(const void *bytes, __u32 size)
{
	return size == 8   ? *(__u64 *)bytes
	       : size == 4 ? *(__u32 *)bytes
	       : size == 2 ? *(__u16 *)bytes
			   : *(__u8 *)bytes;
}

static __always_inline bool same_text(struct scratch *scratch, const struct test *test)
{
	__u64 *bytes = bytes_of(scratch, test->size, 0, test->value);

	if (!test->value)
		return true;
	if (!bytes)
		return false;
	for (__u32 word = 0; word < FILTER_TEXT / 8; word++) {
		__u32 from = word * 8;
		__u64 mask = ~0ULL;

		if (from >= test->value)
			break;
		if (test->value - from < 8)
			mask >>= 8 * (8 - (test->value - from));
		if ((bytes[word] ^ test->text[word]) & mask)
			return false;
	}
	return true;
}

/* So that floats compare as unsigned numbers do; plan/filters.py does the same. */
static __always_inline __u64 ordered(__u64 bits, __u64 sign)
{
	return (bits & sign ? ~bits : bits | sign) & (sign | (sign - 1));
}

/* Where to go on after a test. */
static __always_inline __u32 made(struct scratch *scratch, const struct test *test, __u64 wall)
{
	__u64 value = wall, wanted = test->value;
	void *bytes;
	bool is;

	if (test->kind != TEST_WALL) {
		__u32 size = test->kind == TEST_TEXT || test->kind == TEST_PREFIX ? 8 : test->size;

		bytes = bytes_of(scratch, test->piece, test->at, size);
		if (!bytes)
			return test->on_unread;
		value = number_in(bytes, size);
		if (test->kind == TEST_SIGNED && size < 8)
			value = (__u64)((__s64)(value << (64 - 8 * size)) >> (64 - 8 * size));
	}
	if (test->kind == TEST_TEXT)
		is = value == wanted && same_text(scratch, test);
	else if (test->kind == TEST_PREFIX)
		is = value >= wanted && same_text(scratch, test);
	else {
		if (test->kind == TEST_DOUBLE)
			value = ordered(value, 1ULL << 63);
		else if (test->kind == TEST_SINGLE)
			value = ordered(value, 1ULL << 31);
		if (test->kind == TEST_SIGNED || test->kind == TEST_WALL) {
			value ^= 1ULL << 63;
			wanted ^= 1ULL << 63;
		}
		is = test->relation == IS_EQUAL  ? value == wanted
		     : test->relation == IS_LESS ? value < wanted
						 : value > wanted;
	}
	return is ? test->on_true : test->on_false;
}

/* Not static: the verifier then looks at it once. 1 if the tests from `first` on lead to FILTER_ACCEPT. */
__noinline int tests_hold(struct scratch *scratch, __u32 first, __u64 wall)
{
	__u32 next = 0;

	if (!scratch)
		return 0;
	for (int i = 0; i < FILTER_TESTS; i++) {
		__u32 number = first + next;
		struct test *test = bpf_map_lookup_elem(&tests, &number);

		if (!test)
			return 0;
		next = made(scratch, test, wall);
		if (next >= FILTER_ACCEPT)
			return next == FILTER_ACCEPT;
	}
	return 0;
}

/* Whether a call is wanted, by what is known at its entry or at its return. */
static __always_inline bool wanted_call(const struct pt_regs *regs, __u64 cookie, __u64 g, __u64 wall,
					bool at_exit)
{
	__u32 func = COOKIE_FUNC(cookie);
	struct filter *filter = bpf_map_lookup_elem(&filters, &func);
	const struct filter_at *at;
	struct scratch *scratch;
	bool holds;

	if (!filter)
		return true;
	at = at_exit ? &filter->exit : &filter->entry;
	if (!at->tests)
		return true;
	scratch = take_scratch();
	if (!scratch) {
		__sync_fetch_and_add(&untested, 1);
		return false;
	}
	fetch(scratch, regs, cookie, g, at->op, at->ops);
	holds = tests_hold(scratch, at->test, wall);
	give_back(scratch);
	return holds;
}

static __always_inline bool filtered_at_entry(__u32 func)
{
	struct filter *filter = bpf_map_lookup_elem(&filters, &func);

	return filter && filter->entry.tests;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct by);
} by_functions SEC(".maps");

/* The values that were met, and their numbers. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct by_value);
	__type(value, __u32);
} by_values SEC(".maps");

__u32 by_known;

static __always_inline __u32 number_of(const struct by_value *value)
{
	__u32 *known = bpf_map_lookup_elem(&by_values, value), number;

	if (likely(known))
		return *known;
	if (by_known >= by_most)
		return BY_OTHER;
	number = __sync_fetch_and_add(&by_known, 1) + 1;
	if (number > by_most)
		return BY_OTHER;
	bpf_map_update_elem(&by_values, value, &number, BPF_NOEXIST);
	known = bpf_map_lookup_elem(&by_values, value); /* somebody else may have been first */
	return known ? *known : BY_OTHER;
}

/* Not static: the verifier then looks at it once. The number of the value that the pieces hold. */
__noinline int value_of(struct scratch *scratch, const struct by *by)
{
	struct by_value value = {};
	__u64 *bytes;

	if (!scratch || !by)
		return BY_UNREAD;
	bytes = bytes_of(scratch, by->piece, by->at, by->kind == TEST_TEXT ? 8 : by->size);
	if (!bytes)
		return BY_UNREAD;
	if (by->kind == TEST_TEXT) {
		__u64 length = *bytes;

		value.is_text = 1;
		value.length = length;
		if (!length)
			return number_of(&value);
		if (length > FILTER_TEXT)
			length = FILTER_TEXT;
		bytes = bytes_of(scratch, by->size, 0, length);
		if (!bytes)
			return BY_UNREAD;
		for (__u32 word = 0; word < FILTER_TEXT / 8; word++) {
			if (word * 8 >= length)
				break;
			value.words[word] = bytes[word];
			if (length - word * 8 < 8)
				value.words[word] &= ~0ULL >> (8 * (8 - (length - word * 8)));
		}
		return number_of(&value);
	}
	value.length = by->size;
	value.words[0] = number_in(bytes, by->size);
	return number_of(&value);
}

/* What row a call belongs to, as known at its entry. */
static __always_inline __u32 row_of(const struct pt_regs *regs, __u64 cookie, __u64 g)
{
	__u32 func = COOKIE_FUNC(cookie);
	struct by *by = bpf_map_lookup_elem(&by_functions, &func);
	struct scratch *scratch;
	__u32 number;

	if (!by || !by->wanted)
		return BY_NONE;
	scratch = take_scratch();
	if (!scratch)
		return BY_UNREAD;
	fetch(scratch, regs, cookie, g, by->op, by->ops);
	number = value_of(scratch, by);
	give_back(scratch);
	return number;
}

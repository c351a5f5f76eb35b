/* The brackets and commas of a long JSON text's second level: what app/api/slices.py finds with numpy, block by block. The
 * text is only looked at; whether it is JSON at all is for others to say.
 */
#include <stdint.h>

#include "features.h"

enum { OTHER, OPEN, CLOSE, COMMA, QUOTE, BACKSLASH }; /* as in app/api/slices.py */
enum { LEVEL = 2, STEP = 64 };

static const unsigned char kinds[256] = {
    ['{'] = OPEN, ['['] = OPEN, ['}'] = CLOSE, [']'] = CLOSE, [','] = COMMA, ['"'] = QUOTE, ['\\'] = BACKSLASH,
};

/* What one block leaves for the next: the depth, whether a string goes on, and whether an odd run of backslashes ended it. */
typedef struct {
    int64_t depth, inside, slashed;
} scan_t;

typedef struct {
    const char *start;
    int64_t depth, inside, slashed, n, most, *places, *found;
} marks_t;

/* A bracket or a comma outside of a string. */
static inline void mark(marks_t *m, const char *at, int kind) {
    m->depth += (kind == OPEN) - (kind == CLOSE);
    if (m->depth + (kind == CLOSE) != LEVEL) return; /* a closing bracket is as deep as what it closes */
    m->places[m->n] = at - m->start;
    m->found[m->n++] = kind;
}

static void by_byte(marks_t *m, const char *at, const char *last) {
    for (; at < last && m->n < m->most; at++) {
        int kind = kinds[(unsigned char)*at], escaped = m->slashed != 0;
        m->slashed = kind == BACKSLASH && !escaped;
        if (kind == QUOTE) m->inside ^= !escaped;
        else if (!m->inside && kind && kind <= COMMA) mark(m, at, kind);
    }
}

#ifdef __SSE2__
#include <emmintrin.h>

/* Which of 64 bytes are `c`, a bit each; `fold` is set in each before. */
static inline uint64_t equal(const char *at, char c, char fold) {
    uint64_t bits = 0;
    for (int i = 0; i < 4; i++) {
        __m128i x = _mm_or_si128(_mm_loadu_si128((const __m128i *)at + i), _mm_set1_epi8(fold));
        bits |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8(c))) << 16 * i;
    }
    return bits;
}

/* The next 64 bytes, where none of them is escaped or escapes. 0 where they have to be looked at byte by byte. */
static int by_bits(marks_t *m, const char *at) {
    enum { NO_FOLD = 0, FOLD = 0x20 }; /* [ is { without this bit, ] is } */
    if (m->slashed || equal(at, '\\', NO_FOLD)) return 0;
    uint64_t inside = equal(at, '"', NO_FOLD);
    for (int shift = 1; shift < STEP; shift *= 2) inside ^= inside << shift; /* from each quote to the next */
    inside ^= -(uint64_t)m->inside;
    uint64_t open = equal(at, '{', FOLD) & ~inside, brackets = open | (equal(at, '}', FOLD) & ~inside);
    uint64_t commas = equal(at, ',', NO_FOLD) & ~inside, bits;
    for (uint64_t left = UINT64_MAX; m->n < m->most && (bits = left & (m->depth == LEVEL ? brackets | commas : brackets));) {
        uint64_t lowest = bits & -bits;
        mark(m, at + __builtin_ctzll(bits), lowest & open ? OPEN : lowest & commas ? COMMA : CLOSE);
        left = ~(lowest | (lowest - 1));
    }
    m->inside = inside >> (STEP - 1);
    return 1;
}
#else
static int by_bits(marks_t *m, const char *at) { return (void)m, (void)at, 0; }
#endif

/* The marks of the bytes from start to end, `most` at most: the place of each from start on, and its kind. Their number. */
EXPORT int64_t pltv_marks(const char *text, int64_t start, int64_t end, scan_t *scan, int64_t most, int64_t *places,
                          int64_t *found) {
    const char *at = text + start, *last = text + end;
    marks_t m = {at, scan->depth, scan->inside != 0, scan->slashed != 0, 0, most, places, found};
    for (; last - at >= STEP && m.n < most; at += STEP)
        if (!by_bits(&m, at)) by_byte(&m, at, at + STEP);
    by_byte(&m, at, last);
    *scan = (scan_t){m.depth, m.inside, m.slashed};
    return m.n;
}

/* The brackets and commas of a long JSON text's second level: what app/api/slices.py finds with numpy, block by block. The
 * text is only looked at; whether it is JSON at all is for others to say.
 */
#include <stdint.h>
#include <string.h>

#include "features.h"

enum { OTHER, OPEN, CLOSE, COMMA, QUOTE, BACKSLASH }; /* as in app/api/slices.py */
enum { LEVEL = 2 };

static const unsigned char kinds[256] = {
    ['{'] = OPEN, ['['] = OPEN, ['}'] = CLOSE, [']'] = CLOSE, [','] = COMMA, ['"'] = QUOTE, ['\\'] = BACKSLASH,
};

/* What one block leaves for the next: the depth, whether a string goes on, and whether an odd run of backslashes ended it. */
typedef struct {
    int64_t depth, inside, slashed;
} scan_t;

static inline int has_quote_or_slash(const char *at) {
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t x, quote, slash;
    memcpy(&x, at, 8);
    quote = x ^ ones * '"';
    slash = x ^ ones * '\\';
    return ((((quote - ones) & ~quote) | ((slash - ones) & ~slash)) & high) != 0;
}

/* The marks of the bytes from start to end, `most` at most: the place of each from start on, and its kind. Their number. */
EXPORT int64_t pltv_marks(const char *text, int64_t start, int64_t end, scan_t *scan, int64_t most, int64_t *places,
                          int64_t *found) {
    const char *at = text + start, *last = text + end;
    int64_t depth = scan->depth, n = 0;
    int inside = scan->inside != 0, slashed = scan->slashed != 0;
    while (at < last && n < most) {
        if (inside && !slashed)
            while (last - at >= 8 && !has_quote_or_slash(at)) at += 8;
        if (at == last) break;
        int kind = kinds[(unsigned char)*at], escaped = slashed;
        slashed = kind == BACKSLASH && !slashed;
        if (kind == QUOTE) inside ^= !escaped;
        else if (!inside && kind && kind <= COMMA) {
            depth += (kind == OPEN) - (kind == CLOSE);
            if (depth + (kind == CLOSE) == LEVEL) { /* a closing bracket is as deep as what it closes */
                places[n] = at - (text + start);
                found[n++] = kind;
            }
        }
        at++;
    }
    scan->depth = depth;
    scan->inside = inside;
    scan->slashed = slashed;
    return n;
}

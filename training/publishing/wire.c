#include "wire.h"

#include <math.h>
#include <string.h>

#include "stable.h"

enum { EXACT_POWER = 22, MOST_DIGITS = 18 };
static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline int is_digit(char c) { return c >= '0' && c <= '9'; }

/* Bytes of the character at s, 0 where it is none: no overlong form, no surrogate, nothing beyond U+10FFFF. */
static int character(const unsigned char *s, int64_t left) {
    unsigned char lead = s[0];
    int n = lead < 0x80 ? 1 : lead >= 0xC2 && lead < 0xE0 ? 2 : (lead & 0xF0) == 0xE0 ? 3 : lead >= 0xF0 && lead < 0xF5 ? 4 : 0;
    if (!n || n > left) return 0;
    for (int i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80) return 0;
    if (lead == 0xE0 && s[1] < 0xA0) return 0;
    if (lead == 0xED && s[1] >= 0xA0) return 0;
    if (lead == 0xF0 && s[1] < 0x90) return 0;
    if (lead == 0xF4 && s[1] >= 0x90) return 0;
    return n;
}

int is_utf8(const char *bytes, int64_t n) {
    const uint64_t high = 0x8080808080808080u;
    uint64_t eight;
    for (int64_t i = 0, step; i < n; i += step) {
        if (n - i >= 8 && (memcpy(&eight, bytes + i, 8), !(eight & high))) step = 8;
        else if (!(step = character((const unsigned char *)bytes + i, n - i))) return 0;
    }
    return 1;
}

/* Whether any of eight bytes is a control character, a quote, a backslash or not ASCII. */
static inline int special(const char *at) {
    const uint64_t ones = 0x0101010101010101u, high = 0x8080808080808080u;
    uint64_t x, quote, slash;
    memcpy(&x, at, 8);
    quote = x ^ ones * '"';
    slash = x ^ ones * '\\';
    return ((x | (x - ones * 0x20) | ((quote - ones) & ~quote) | ((slash - ones) & ~slash)) & high) != 0;
}

static int hex4(const char *at, uint32_t *code) {
    *code = 0;
    for (int i = 0; i < 4; i++) {
        char c = at[i], lower = (char)(c | 0x20);
        if (!is_digit(c) && !(lower >= 'a' && lower <= 'f')) return 0;
        *code = *code << 4 | (uint32_t)(is_digit(c) ? c - '0' : lower - 'a' + 10);
    }
    return 1;
}

static char *encode(char *out, uint32_t c) {
    if (c < 0x80) return *out++ = (char)c, out;
    if (c < 0x800) *out++ = (char)(0xC0 | c >> 6);
    else {
        if (c < 0x10000) *out++ = (char)(0xE0 | c >> 12);
        else {
            *out++ = (char)(0xF0 | c >> 18);
            *out++ = (char)(0x80 | (c >> 12 & 0x3F));
        }
        *out++ = (char)(0x80 | (c >> 6 & 0x3F));
    }
    *out++ = (char)(0x80 | (c & 0x3F));
    return out;
}

/* What stands after a backslash, written to w->spare; NULL where it is no escape. */
static const char *unescape(const char *at, wire_t *w) {
    static const char marks[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *mark = *at ? strchr(marks, *at) : NULL;
    if (mark) return *w->spare++ = meant[mark - marks], at + 1;
    uint32_t code, low;
    if (*at != 'u' || !hex4(at + 1, &code)) return NULL;
    at += 5;
    if (code >= 0xD800 && code < 0xE000) {
        if (code >= 0xDC00 || at[0] != '\\' || at[1] != 'u' || !hex4(at + 2, &low) || low < 0xDC00 || low >= 0xE000)
            return NULL;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        at += 6;
    }
    w->spare = encode(w->spare, code);
    return at;
}

/* The same with escapes, from the text's first byte on. */
static int escaped_text(wire_t *w, const char *at, text_t *text) {
    text->bytes = w->spare;
    while (*at != '"') {
        if ((unsigned char)*at < 0x20) return 0;
        if (*at != '\\') *w->spare++ = *at++;
        else if (!(at = unescape(at + 1, w))) return 0;
    }
    text->length = w->spare - text->bytes;
    w->at = at + 1;
    return is_utf8(text->bytes, text->length);
}

int wire_text(wire_t *w, text_t *text) {
    if (!taken(w, '"')) return 0;
    const char *at = w->at;
    unsigned char high = 0;
    while (w->end - at >= 8 && !special(at)) at += 8;
    for (; *at != '"'; at++) {
        if ((unsigned char)*at < 0x20) return 0;
        if (*at == '\\') return escaped_text(w, w->at, text);
        high |= (unsigned char)*at;
    }
    text->bytes = w->at;
    text->length = at - w->at;
    w->at = at + 1;
    return high < 0x80 || is_utf8(text->bytes, text->length);
}

/* The interpreter's own reading of a number, correctly rounded, for those with many digits. */
static int rounded_number(const char *start, const char *end, double *x) {
    char *stop;
    *x = PyOS_string_to_double(start, &stop, NULL);
    if (PyErr_Occurred()) return PyErr_Clear(), 0;
    return stop == end && isfinite(*x);
}

int wire_number(wire_t *w, double *x) {
    next(w);
    const char *start = w->at, *at = start + (*start == '-'), *first = at;
    uint64_t mantissa = 0;
    int64_t digits, power = 0;
    for (; is_digit(*at); at++) mantissa = 10 * mantissa + (uint64_t)(*at - '0'); /* too many wrap, and are counted */
    digits = at - first;
    if (!digits || (*first == '0' && digits > 1)) return 0;
    int whole = *at != '.' && (*at | 0x20) != 'e';
    if (*at == '.') {
        for (first = ++at; is_digit(*at); at++) mantissa = 10 * mantissa + (uint64_t)(*at - '0');
        if (at == first) return 0;
        digits += at - first;
        power = first - at;
    }
    if ((*at | 0x20) == 'e') {
        int negative = *++at == '-';
        at += *at == '-' || *at == '+';
        int64_t exponent = 0;
        for (first = at; is_digit(*at); at++) exponent = exponent < 1000 ? 10 * exponent + (*at - '0') : exponent;
        if (at == first) return 0;
        power += negative ? -exponent : exponent;
    }
    w->at = at;
    if (digits <= MOST_DIGITS && mantissa <= 1ull << 53 && power >= -EXACT_POWER && power <= EXACT_POWER) {
        *x = power < 0 ? (double)mantissa / powers[-power] : (double)mantissa * powers[power]; /* rounded once */
        if (*start == '-') *x = -*x;
        return 1;
    }
    if (whole && digits > MOST_DIGITS) return 0; /* beyond an int64 parsers differ */
    return rounded_number(start, at, x);
}

static int members(wire_t *w, int depth, char close) {
    text_t key;
    w->at++;
    if (taken(w, close)) return 1;
    do {
        if (close == '}' && !(wire_text(w, &key) && taken(w, ':'))) return 0;
        if (!wire_value(w, depth - 1)) return 0;
    } while (taken(w, ','));
    return taken(w, close);
}

static int word(wire_t *w, const char *letters, int64_t n) {
    if (w->end - w->at < n || memcmp(w->at, letters, (size_t)n)) return 0;
    w->at += n;
    return 1;
}

int wire_null(wire_t *w) { return next(w) == 'n' && word(w, "null", 4); }

int wire_value(wire_t *w, int depth) {
    text_t text;
    double x;
    char c = next(w);
    if (c == '"') return wire_text(w, &text);
    if (c == '{' || c == '[') return depth > 0 && members(w, depth, c == '{' ? '}' : ']');
    if (c == 'n') return wire_null(w);
    if (c == 't') return word(w, "true", 4);
    if (c == 'f') return word(w, "false", 5);
    return wire_number(w, &x);
}

static const char *past_text(const char *at) {
    for (at++; *at && *at != '"'; at++)
        if (*at == '\\' && at[1]) at++;
    return *at ? at + 1 : at;
}

int wire_pass(wire_t *w) {
    const char *at;
    int64_t depth = 0;
    next(w);
    for (at = w->at; *at;) {
        char c = *at;
        if (c == '"') at = past_text(at);
        else if (depth == 0 && (c == ',' || c == '}' || c == ']')) break;
        else {
            depth += (c == '{' || c == '[') - (c == '}' || c == ']');
            at++;
        }
    }
    int moved = at > w->at;
    w->at = at;
    return moved && *at;
}

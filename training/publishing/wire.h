/* JSON, token by token, strict where it is kept: a text that any strict parser would refuse is never accepted here. What
 * this reader is too simple for (0 is returned) is left to Python, which says what is wrong with it, if anything.
 */
#ifndef PLTV_WIRE_H
#define PLTV_WIRE_H
#include <stdint.h>

typedef struct {
    const char *at, *end; /* a NUL stands at the end */
    char *spare;          /* where texts with escapes are written: room for as many bytes as are read */
} wire_t;

typedef struct {
    const char *bytes; /* UTF-8 */
    int64_t length;
} text_t;

/* The first character of the next token; it is not consumed. */
static inline char next(wire_t *w) {
    while (*w->at == ' ' || *w->at == '\n' || *w->at == '\r' || *w->at == '\t') w->at++;
    return *w->at;
}

/* Consume one character, if it is the next token. */
static inline int taken(wire_t *w, char token) {
    if (next(w) != token) return 0;
    w->at++;
    return 1;
}

int is_utf8(const char *bytes, int64_t n);

/* Consume a value of a kind; 0 where the next one is of another, malformed, or not to be read here. */
int wire_null(wire_t *w);
int wire_text(wire_t *w, text_t *text);
int wire_number(wire_t *w, double *x); /* finite, correctly rounded */
int wire_value(wire_t *w, int depth);  /* any, of at most so many levels */

/* Go past a value that somebody else validates; right wherever that one finds JSON. */
int wire_pass(wire_t *w);

#endif

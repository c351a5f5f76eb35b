/* The part of CPython's stable ABI that the feature plan's C files call, declared here because a machine that compiles
 * need not have Python's headers. Present and unchanged since 3.11. */
#ifndef PLTV_STABLE_H
#define PLTV_STABLE_H
#include <stdint.h>

typedef struct object object;
typedef intptr_t ssize;
typedef struct {
    void *buf;
    object *obj;
    ssize len, itemsize;
    int readonly, ndim;
    char *format;
    ssize *shape, *strides, *suboffsets;
    void *internal;
} buffer;

extern object _Py_NoneStruct, PyDict_Type, PyList_Type;
extern object *PyDict_GetItemWithError(object *, object *), *PyDict_New(void), *PyObject_GetItem(object *, object *);
extern object *PyObject_GetAttrString(object *, const char *), *PyObject_Type(object *), *PyFloat_FromDouble(double);
extern object *PyList_GetItem(object *, ssize), *PyTuple_GetItem(object *, ssize), *PyTuple_New(ssize);
extern object *PyErr_Occurred(void), *PyErr_NoMemory(void);
extern ssize PyList_Size(object *), PyDict_Size(object *);
extern double PyFloat_AsDouble(object *);
extern long long PyLong_AsLongLong(object *);
extern int PyObject_GetBuffer(object *, buffer *, int), PyDict_Next(object *, ssize *, object **, object **);
extern int PyDict_SetItem(object *, object *, object *), PyTuple_SetItem(object *, ssize, object *);
extern void PyBuffer_Release(buffer *), Py_IncRef(object *), Py_DecRef(object *);

#define NONE (&_Py_NoneStruct)

static inline int is_a(object *o, object *kind) {
    object *type = PyObject_Type(o);
    Py_DecRef(type);
    return type == kind;
}

/* Borrowed, NULL where the key is absent or None (or an error is set). */
static inline object *get(object *dict, object *key) {
    object *value = PyDict_GetItemWithError(dict, key);
    return value == NONE ? 0 : value;
}

/* app.features.history.canonical */
static inline double canonical(double x) {
    const double largest = 3.4028234663852886e38;
    x = x < -largest ? -largest : x;
    x = x > largest ? largest : x;
    return x + 0.0;
}

#endif

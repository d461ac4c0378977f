/* Lists of numbers to the text that Python's json has for them. */
#ifndef EDGEXGB_ROWS_TEXT_H
#define EDGEXGB_ROWS_TEXT_H

#include "digits.h"
#include "rows_status.h"

typedef struct {
    char *text;
    size_t size, capacity;
} Text;

/* Room for one number, two brackets and a comma; -1 with a MemoryError set. */
static int reserve(Text *text)
{
    if (text->capacity - text->size >= MAX_NUMBER_CHARACTERS + 3) {
        return 0;
    }
    const size_t capacity = text->capacity * 2 + 256;
    char *larger = PyMem_Realloc(text->text, capacity);
    if (larger == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    text->text = larger;
    text->capacity = capacity;
    return 0;
}

static int add_number(Text *text, double value)
{
    if (reserve(text) < 0) {
        return -1;
    }
    const size_t size = write_float32(value, text->text + text->size);
    if (size != 0) {
        text->size += size;
        return 0;
    }
    char *written = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (written == NULL) {
        return -1;
    }
    const size_t length = strlen(written);
    if (!isfinite(value) || length > MAX_NUMBER_CHARACTERS) {
        PyErr_Format(PyExc_ValueError, "number: got %s, expected one that JSON has", written);
        PyMem_Free(written);
        return -1;
    }
    memcpy(text->text + text->size, written, length);
    text->size += length;
    PyMem_Free(written);
    return 0;
}

/* A list of floats, or with `depth` 1 of such lists. */
static int add_list(Text *text, PyObject *list, int depth)
{
    if (reserve(text) < 0) {
        return -1;
    }
    text->text[text->size++] = '[';
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *item = PyList_GET_ITEM(list, i);
        if (i > 0) {
            text->text[text->size++] = ',';
        }
        int status;
        if (PyFloat_CheckExact(item)) {
            status = add_number(text, PyFloat_AS_DOUBLE(item));
        } else if (depth > 0 && PyList_CheckExact(item)) {
            status = add_list(text, item, depth - 1);
        } else {
            PyErr_SetString(PyExc_TypeError, "numbers: expected a list of floats, or of such lists");
            status = -1;
        }
        if (status < 0 || reserve(text) < 0) {
            return -1;
        }
    }
    text->text[text->size++] = ']';
    return 0;
}

#endif

/* An event: the rows, and what stands beside them. */
#ifndef EDGEXGB_ROWS_EVENT_H
#define EDGEXGB_ROWS_EVENT_H

#include "rows_records.h"

static const char *const FIELDS[] = {"id", "replyTo", "deadlineMs", "topK", "threshold"};

enum { N_FIELDS = sizeof FIELDS / sizeof FIELDS[0], RECORDS = N_FIELDS };

/* Which field it is; RECORDS, or -1 for any other. */
static int find_field(const char *text, size_t size)
{
    for (int i = 0; i < N_FIELDS; i++) {
        if (strlen(FIELDS[i]) == size && memcmp(FIELDS[i], text, size) == 0) {
            return i;
        }
    }
    return size == 7 && memcmp("records", text, size) == 0 ? RECORDS : -1;
}

static Status or_failed(PyObject *object, PyObject **value)
{
    *value = object;
    return object == NULL ? FAILED : READ;
}

static Status read_text(Cursor *cursor, PyObject **value)
{
    const char *text;
    size_t size;
    if (read_string(cursor, &text, &size) != READ) {
        return NOT_FOR_ME;
    }
    *value = PyUnicode_DecodeUTF8(text, (Py_ssize_t)size, NULL);
    if (*value == NULL && PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
        PyErr_Clear();
        return NOT_FOR_ME;
    }
    return *value == NULL ? FAILED : READ;
}

static Status read_python_number(Cursor *cursor, PyObject **value)
{
    Number number;
    const Status status = read_number(&cursor->at, &number);
    if (status != READ) {
        return status;
    }
    if (number.is_integer) {
        if (number.n_digits > MAX_INT_DIGITS) {
            return NOT_FOR_ME;
        }
        const long long magnitude = (long long)number.digits;
        return or_failed(PyLong_FromLongLong(number.is_negative ? -magnitude : magnitude), value);
    }
    double fraction;
    const Status converted = to_python_double(&number, &fraction);
    return converted == READ ? or_failed(PyFloat_FromDouble(fraction), value) : converted;
}

/* A new reference to a text, number, boolean or None. */
static Status read_scalar(Cursor *cursor, PyObject **value)
{
    if (*cursor->at == '"') {
        return read_text(cursor, value);
    }
    if (take_word(cursor, "null")) {
        *value = Py_NewRef(Py_None);
        return READ;
    }
    if (take_word(cursor, "true")) {
        *value = Py_NewRef(Py_True);
        return READ;
    }
    if (take_word(cursor, "false")) {
        *value = Py_NewRef(Py_False);
        return READ;
    }
    return read_python_number(cursor, value);
}

/* One field's value, into the dictionary. */
static Status read_field(Cursor *cursor, int field, PyObject **fields)
{
    PyObject *value = NULL;
    const Status status = read_scalar(cursor, &value);
    if (status != READ) {
        return status;
    }
    if (*fields == NULL && (*fields = PyDict_New()) == NULL) {
        Py_DECREF(value);
        return FAILED;
    }
    const int stored = PyDict_SetItemString(*fields, FIELDS[field], value);
    Py_DECREF(value);
    return stored < 0 ? FAILED : READ;
}

/* {"records": [...]}, and plain fields before or after. The opening brace was passed. */
static Status read_request(Rows *rows, Cursor *cursor, PyObject **fields)
{
    unsigned seen = 0;
    do {
        const char *text;
        size_t size;
        if (*cursor->at != '"' || read_string(cursor, &text, &size) != READ) {
            return NOT_FOR_ME;
        }
        const int field = find_field(text, size);
        skip_space(cursor);
        if (field < 0 || (seen & 1u << field) || !take(cursor, ':')) {
            return NOT_FOR_ME;
        }
        seen |= 1u << field;
        const Status status =
            field == RECORDS ? read_rows(rows, cursor) : read_field(cursor, field, fields);
        if (status != READ) {
            return status;
        }
        skip_space(cursor);
    } while (take(cursor, ','));
    return take(cursor, '}') && (seen & 1u << RECORDS) ? READ : NOT_FOR_ME;
}

/* Whether the object that comes next is a request, by its first key. */
static bool is_request(Cursor cursor)
{
    const char *text;
    size_t size;
    return take(&cursor, '{') && *cursor.at == '"' && read_string(&cursor, &text, &size) == READ
           && find_field(text, size) >= 0;
}

static Status read_event(Rows *rows, Cursor *cursor, PyObject **fields)
{
    Status status;
    skip_space(cursor);
    if (*cursor->at == '[') {
        status = read_rows(rows, cursor);
    } else if (is_request(*cursor)) {
        take(cursor, '{');
        status = read_request(rows, cursor, fields);
    } else {
        status = rows->scanner->takes_one_row ? read_row(rows, cursor) : NOT_FOR_ME;
    }
    return status == READ && cursor->at != cursor->end ? NOT_FOR_ME : status;
}

#endif

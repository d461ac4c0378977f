/* One value of a column, as the float32 that stands in the matrix. */
#ifndef EDGEXGB_ROWS_VALUES_H
#define EDGEXGB_ROWS_VALUES_H

#include "rows_columns.h"
#include "rows_numbers.h"
#include "rows_tokens.h"

static Status code_to_float(Py_ssize_t code, float *value)
{
    *value = (float)code;
    return code < 0 ? NOT_FOR_ME : READ;
}

static Status read_number_value(Cursor *cursor, float *value)
{
    Number number;
    const Status status = read_number(&cursor->at, &number);
    if (status != READ) {
        return status;
    }
    return number.is_integer ? integer_to_float(&number, value) : fraction_to_float(&number, value);
}

/* true, false, 1 or 0; in another form, such as 1.0, they are left to the general path. */
static Status read_boolean_value(Cursor *cursor, float *value)
{
    if (take_word(cursor, "true") || take_word(cursor, "1")) {
        *value = 1.0f;
        return READ;
    }
    *value = 0.0f;
    return take_word(cursor, "false") || take_word(cursor, "0") ? READ : NOT_FOR_ME;
}

static Status read_text_category(const Column *column, Cursor *cursor, float *value)
{
    const char *text;
    size_t size;
    if (*cursor->at != '"' || read_string(cursor, &text, &size) != READ) {
        return NOT_FOR_ME;
    }
    return code_to_float(find_word(&column->texts, text, size), value);
}

static Status read_number_category(const Column *column, Cursor *cursor, float *value)
{
    Number number;
    Category wanted = {0.0, 0};
    Status status = read_number(&cursor->at, &number);
    if (status != READ || (status = to_double(&number, &wanted.value)) != READ) {
        return status;
    }
    const Category *found = bsearch(&wanted, column->numbers, column->n_numbers, sizeof(Category),
                                    compare_categories);
    return code_to_float(found == NULL ? -1 : found->code, value);
}

static Status read_boolean_category(const Column *column, Cursor *cursor, float *value)
{
    if (take_word(cursor, "true")) {
        return code_to_float(column->codes[1], value);
    }
    return take_word(cursor, "false") ? code_to_float(column->codes[0], value) : NOT_FOR_ME;
}

static Status read_value(const Column *column, Cursor *cursor, float *value)
{
    if (take_word(cursor, "null")) {
        *value = (float)Py_NAN;
        return READ;
    }
    switch (column->kind) {
    case NUMBER:
        return read_number_value(cursor, value);
    case BOOLEAN:
        return read_boolean_value(cursor, value);
    case TEXTS:
        return read_text_category(column, cursor, value);
    case NUMBERS:
        return read_number_category(column, cursor, value);
    case BOOLEANS:
        return read_boolean_category(column, cursor, value);
    default:
        Py_UNREACHABLE();
    }
}

#endif

/* Requests straight into the float32 matrix: the extension `model._rows`.
 *
 * A scanner reads the bytes of the commonest requests, {"records": [{name: value, ...}, ...]} with
 * or without plain fields beside the rows, a list of rows, or one row, and writes each value where
 * the model wants it. It accepts only what is beyond doubt. Of anything else, be it wrong or merely
 * unusual, it says None, and the general path (container.events, model.features), which knows every
 * error text, reads the same bytes again. So what is accepted here must give the matrix that the
 * general path gives, to the bit; and nothing that the general path refuses may be accepted.
 *
 * A scanner does not change once it is made, so that threads may share one.
 *
 * Every buffer that is scanned ends with a NUL that is not part of it (as a bytes object does). A
 * NUL stands in no JSON token, so a loop over a token's characters ends there by itself.
 */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "rows_event.h"
#include "rows_text.h"

/* --- a scanner ---------------------------------------------------------------------------------- */

static void scanner_dealloc(Scanner *self)
{
    PyTypeObject *type = Py_TYPE(self);
    for (size_t i = 0; self->columns != NULL && i < self->n_columns; i++) {
        PyMem_Free(self->columns[i].texts.items);
        PyMem_Free(self->columns[i].numbers);
    }
    PyMem_Free(self->columns);
    PyMem_Free(self->names);
    PyMem_Free(self->sorted.items);
    Py_XDECREF(self->features);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *scanner_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *keywords[] = {"features", "absent_is_missing", "takes_one_row", NULL};
    PyObject *features;
    int absent_is_missing, takes_one_row;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!pp", keywords, &PyTuple_Type, &features,
                                     &absent_is_missing, &takes_one_row)) {
        return NULL;
    }
    Scanner *self = (Scanner *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    const size_t count = (size_t)PyTuple_GET_SIZE(features);
    self->features = Py_NewRef(features);
    self->n_columns = count;
    self->absent_is_missing = absent_is_missing;
    self->takes_one_row = takes_one_row;
    if ((self->columns = allocate(count, sizeof(Column))) == NULL
        || (self->names = allocate(count, sizeof(Word))) == NULL
        || (self->sorted.items = allocate(count, sizeof(Word))) == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    for (size_t i = 0; i < count; i++) {
        if (fill_column(self, i, PyTuple_GET_ITEM(features, (Py_ssize_t)i)) < 0) {
            Py_DECREF(self);
            return NULL;
        }
    }
    qsort(self->sorted.items, self->sorted.count, sizeof(Word), compare_words);
    return (PyObject *)self;
}

PyDoc_STRVAR(scan_doc,
             "scan(event, max_rows, /)\n--\n\n"
             "The matrix of an event's rows as bytes, how many rows there are, and what stands\n"
             "beside them (None where nothing does). None where the event is not one of those\n"
             "that are read here.");

static PyObject *scanner_scan(Scanner *self, PyObject *const *args, Py_ssize_t n_args)
{
    if (n_args != 2 || !PyBytes_Check(args[0])) {
        PyErr_SetString(PyExc_TypeError, "scan: expected bytes and a number of rows");
        return NULL;
    }
    const size_t max_rows = PyLong_AsSize_t(args[1]);
    if (max_rows == (size_t)-1 && PyErr_Occurred()) {
        return NULL;
    }
    const char *text = PyBytes_AS_STRING(args[0]);
    Cursor cursor = {text, text + PyBytes_GET_SIZE(args[0])};
    PyObject *fields = NULL, *result = NULL;
    Rows rows;
    Status status = open_rows(&rows, self, max_rows);
    if (status == READ) {
        status = read_event(&rows, &cursor, &fields);
    }
    if (status == READ) {
        const size_t size = rows.n_rows * self->n_columns * sizeof(float);
        result = Py_BuildValue("y#nO", (const char *)rows.matrix, (Py_ssize_t)size,
                               (Py_ssize_t)rows.n_rows, fields == NULL ? Py_None : fields);
    } else if (status == NOT_FOR_ME) {
        result = Py_NewRef(Py_None);
    }
    close_rows(&rows);
    Py_XDECREF(fields);
    return result;
}

/* --- numbers to text ---------------------------------------------------------------------------- */

PyDoc_STRVAR(write_doc,
             "write_numbers(numbers, /)\n--\n\n"
             "The compact JSON text of a list of finite floats, or of lists of such.");

static PyObject *write_numbers(PyObject *module, PyObject *numbers)
{
    (void)module;
    if (!PyList_CheckExact(numbers)) {
        PyErr_SetString(PyExc_TypeError, "numbers: expected a list of floats, or of such lists");
        return NULL;
    }
    Text text = {NULL, 0, 0};
    PyObject *result = NULL;
    if (add_list(&text, numbers, 1) == 0) {
        result = PyUnicode_DecodeASCII(text.text, (Py_ssize_t)text.size, NULL);
    }
    PyMem_Free(text.text);
    return result;
}

/* --- the module --------------------------------------------------------------------------------- */

static PyMethodDef scanner_methods[] = {
    {"scan", (PyCFunction)(void (*)(void))scanner_scan, METH_FASTCALL, scan_doc},
    {NULL, NULL, 0, NULL},
};

PyDoc_STRVAR(scanner_doc,
             "Scanner(features, absent_is_missing, takes_one_row)\n--\n\n"
             "Reads the requests of one model. A feature is (name, kind, categories): its name in\n"
             "UTF-8; a constant of this module; texts in UTF-8, numbers or booleans, in the order\n"
             "of their codes. None instead of a name or a text: what has it is never read here.");

static PyType_Slot scanner_slots[] = {
    {Py_tp_doc, (void *)scanner_doc},
    {Py_tp_new, scanner_new},
    {Py_tp_dealloc, scanner_dealloc},
    {Py_tp_methods, scanner_methods},
    {0, NULL},
};

static PyType_Spec scanner_spec = {
    .name = "model._rows.Scanner",
    .basicsize = sizeof(Scanner),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = scanner_slots,
};

static int module_exec(PyObject *module)
{
    static const char *const kinds[N_KINDS] = {"NUMBER", "BOOLEAN", "TEXTS", "NUMBERS", "BOOLEANS"};
    for (int i = 0; i < N_KINDS; i++) {
        if (PyModule_AddIntConstant(module, kinds[i], i) < 0) {
            return -1;
        }
    }
    PyObject *type = PyType_FromModuleAndSpec(module, &scanner_spec, NULL);
    if (type == NULL) {
        return -1;
    }
    const int status = PyModule_AddObjectRef(module, "Scanner", type);
    Py_DECREF(type);
    return status;
}

static PyMethodDef module_methods[] = {
    {"write_numbers", write_numbers, METH_O, write_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static struct PyModuleDef module_definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "model._rows",
    .m_doc = "Requests straight into the float32 matrix.",
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__rows(void)
{
    return PyModuleDef_Init(&module_definition);
}

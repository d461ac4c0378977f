/* `model._forest`: a forest file that predicts. The Python face; the work is in the headers. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "forest_predict.h"

/* Work above this, some 0.1 to 1 ms, is done without the interpreter's lock: other callers go on. To
 * give it up for less, and to wait for it again, costs two callers more than it gains them. */
#define STEPS_WITH_LOCK 400000u

typedef struct {
    PyObject_HEAD
    struct forest forest;
    const struct forest_walk *walk;
} ForestObject;

static PyObject *raise_fault(const struct forest_fault *fault)
{
    if (fault->no_memory)
        return PyErr_NoMemory();
    PyObject *arguments = Py_BuildValue("(sss)", fault->place, fault->observed, fault->expected);
    if (arguments != NULL) {
        PyErr_SetObject(PyExc_ValueError, arguments);
        Py_DECREF(arguments);
    }
    return NULL;
}

static const struct forest_walk *find_walk(const char *name)
{
    const struct forest_walk *walks[4];
    size_t n = forest_walks(walks);
    if (name == NULL)
        return walks[0];
    for (size_t i = 0; i < n; i++)
        if (strcmp(walks[i]->name, name) == 0)
            return walks[i];
    PyErr_Format(PyExc_LookupError, "walk: got %s, expected one that this machine can do", name);
    return NULL;
}

static PyObject *forest_new(PyTypeObject *type, PyObject *arguments, PyObject *keywords)
{
    static char *names[] = {"content", "walk", NULL};
    Py_buffer content;
    const char *name = NULL;
    if (!PyArg_ParseTupleAndKeywords(arguments, keywords, "y*|z:Forest", names, &content, &name))
        return NULL;
    PyObject *result = NULL;
    const struct forest_walk *walk = find_walk(name);
    struct forest forest;
    struct forest_fault fault;
    if (walk != NULL && !forest_open(&forest, content.buf, (size_t)content.len, &fault))
        raise_fault(&fault);
    else if (walk != NULL) {
        ForestObject *self = (ForestObject *)type->tp_alloc(type, 0);
        if (self != NULL) {
            self->forest = forest;
            self->walk = walk;
        } else {
            forest_close(&forest);
        }
        result = (PyObject *)self;
    }
    PyBuffer_Release(&content);
    return result;
}

static void forest_dealloc(ForestObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    forest_close(&self->forest);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
}

static PyObject *to_list(const float *values, size_t n)
{
    PyObject *list = PyList_New((Py_ssize_t)n);
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        PyObject *value = PyFloat_FromDouble(values[i]);
        if (value == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, value);
    }
    return list;
}

static PyObject *predict_buffer(const ForestObject *self, const Py_buffer *matrix, Py_ssize_t n_rows,
                                unsigned n_threads)
{
    const struct forest *forest = &self->forest;
    Py_ssize_t row_bytes = (Py_ssize_t)forest->header.n_features * (Py_ssize_t)sizeof(float);
    if (matrix->itemsize != sizeof(float) || matrix->format == NULL ||
        strcmp(matrix->format, "f") != 0) {
        PyErr_SetString(PyExc_TypeError, "matrix: got other items, expected float32");
        return NULL;
    }
    if (n_rows < 1 || matrix->len % row_bytes != 0 || matrix->len / row_bytes != n_rows) {
        PyErr_Format(PyExc_ValueError, "matrix: got %zd bytes for %zd rows, expected %zd for each",
                     matrix->len, n_rows, row_bytes);
        return NULL;
    }
    if (n_rows > PY_SSIZE_T_MAX / (Py_ssize_t)forest_n_outputs(forest))
        return PyErr_NoMemory();
    size_t n = (size_t)n_rows * forest_n_outputs(forest);
    float stack[64];
    float *out = n <= 64 ? stack : PyMem_New(float, n);
    if (out == NULL)
        return PyErr_NoMemory();
    PyThreadState *lock = NULL;
    if (forest->steps * (uint64_t)n_rows > STEPS_WITH_LOCK)
        lock = PyEval_SaveThread();
    bool done = forest_predict(forest, self->walk, matrix->buf, (size_t)n_rows, n_threads, out);
    if (lock != NULL)
        PyEval_RestoreThread(lock);
    PyObject *result = done ? to_list(out, n) : PyErr_NoMemory();
    if (out != stack)
        PyMem_Free(out);
    return result;
}

PyDoc_STRVAR(predict_doc, "predict(matrix, n_rows, n_threads, /)\n--\n\n"
                          "The outputs, row after row, as a list of floats.");

static PyObject *forest_predict_method(ForestObject *self, PyObject *const *arguments,
                                       Py_ssize_t n_arguments)
{
    if (n_arguments != 3) {
        PyErr_Format(PyExc_TypeError, "predict: got %zd arguments, expected 3", n_arguments);
        return NULL;
    }
    Py_ssize_t n_rows = PyLong_AsSsize_t(arguments[1]);
    if (n_rows == -1 && PyErr_Occurred())
        return NULL;
    unsigned long n_threads = PyLong_AsUnsignedLong(arguments[2]);
    if (n_threads == (unsigned long)-1 && PyErr_Occurred())
        return NULL;
    Py_buffer matrix;
    if (PyObject_GetBuffer(arguments[0], &matrix, PyBUF_ND | PyBUF_FORMAT) != 0)
        return NULL;
    unsigned limited = n_threads < 1 ? 1 : n_threads > MAX_THREADS ? MAX_THREADS : n_threads;
    PyObject *result = predict_buffer(self, &matrix, n_rows, limited);
    PyBuffer_Release(&matrix);
    return result;
}

static PyObject *get_number(ForestObject *self, void *which)
{
    const struct forest_header *h = &self->forest.header;
    const uint32_t numbers[] = {h->n_features, forest_n_outputs(&self->forest), h->n_groups,
                                h->n_rounds, h->transform};
    return PyLong_FromUnsignedLong(numbers[(size_t)which]);
}

static PyObject *get_text(ForestObject *self, void *Py_UNUSED(which))
{
    return PyBytes_FromStringAndSize(self->forest.text, self->forest.header.text_bytes);
}

static PyObject *get_walk(ForestObject *self, void *Py_UNUSED(which))
{
    return PyUnicode_FromString(self->walk->name);
}

static PyGetSetDef forest_getset[] = {
    {"n_features", (getter)get_number, NULL, "Values of a row.", (void *)0},
    {"n_outputs", (getter)get_number, NULL, "Values for each row.", (void *)1},
    {"n_groups", (getter)get_number, NULL, "Sums for each row.", (void *)2},
    {"n_rounds", (getter)get_number, NULL, "Boosting rounds.", (void *)3},
    {"transform", (getter)get_number, NULL, "The transform's code.", (void *)4},
    {"text", (getter)get_text, NULL, "What the file says of itself: JSON.", NULL},
    {"walk", (getter)get_walk, NULL, "How it walks: avx512, avx2, neon or plain.", NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyMethodDef forest_methods[] = {
    {"predict", (PyCFunction)(void (*)(void))forest_predict_method, METH_FASTCALL, predict_doc},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot forest_slots[] = {
    {Py_tp_doc, "Forest(content, walk=None)\n--\n\nA forest file, checked."},
    {Py_tp_new, forest_new},
    {Py_tp_dealloc, forest_dealloc},
    {Py_tp_getset, forest_getset},
    {Py_tp_methods, forest_methods},
    {0, NULL},
};

static PyType_Spec forest_spec = {
    .name = "model._forest.Forest",
    .basicsize = sizeof(ForestObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = forest_slots,
};

static PyObject *list_walks(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing))
{
    const struct forest_walk *walks[4];
    size_t n = forest_walks(walks);
    PyObject *names = PyList_New(0);
    for (size_t i = 0; names != NULL && i < n; i++) {
        PyObject *name = PyUnicode_FromString(walks[i]->name);
        if (name == NULL || PyList_Append(names, name) != 0)
            Py_CLEAR(names);
        Py_XDECREF(name);
    }
    return names;
}

static PyMethodDef module_methods[] = {
    {"walks", list_walks, METH_NOARGS,
     "walks()\n--\n\nThe walks that this machine can do, the best one first."},
    {NULL, NULL, 0, NULL},
};

static int module_exec(PyObject *module)
{
    if (pthread_atfork(NULL, NULL, threads_forget) != 0) {
        PyErr_NoMemory();
        return -1;
    }
    PyObject *type = PyType_FromModuleAndSpec(module, &forest_spec, NULL);
    if (type == NULL)
        return -1;
    int status = PyModule_AddType(module, (PyTypeObject *)type);
    Py_DECREF(type);
    return status;
}

static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, module_exec},
    {0, NULL},
};

static PyModuleDef module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_forest",
    .m_doc = "Forest files that predict.",
    .m_size = 0,
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__forest(void)
{
    return PyModuleDef_Init(&module);
}

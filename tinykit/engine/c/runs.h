/* The taps of a conv_2d pixel as runs: stretches of elements that input and filter both have in
   one piece. A row of taps is one run when nothing lies between its columns (no dilation, one
   group); otherwise each tap is a run of its own. */
#ifndef TINYKIT_RUNS_H
#define TINYKIT_RUNS_H

#include "conv.h"

struct tk_runs {
    int32_t rows, runs, length;    /* rows x runs pieces of this many elements */
    int32_t row_step, run_step;    /* from piece to piece in the input */
    int32_t filter_row, filter_run;
    int32_t filter_at, filter_size;
};

static inline struct tk_runs tk_find_runs(const struct tk_conv *p, const struct tk_taps *t)
{
    const struct tk_window *w = &p->window;
    const int whole = t->col_step == p->depth;
    struct tk_runs r;

    r.rows = t->rows;
    r.runs = whole ? 1 : t->cols;
    r.length = whole ? t->cols * p->depth : p->depth;
    r.row_step = t->row_step;
    r.run_step = t->col_step;
    r.filter_row = w->filter_w * p->depth;
    r.filter_run = p->depth;
    r.filter_at = (t->first_row * w->filter_w + t->first_col) * p->depth;
    r.filter_size = w->filter_h * w->filter_w * p->depth;
    return r;
}

#endif

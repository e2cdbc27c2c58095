/* why.h -- inside the planner: what has been tried, in order to say why the plan is what it is. */
#ifndef MT_PARALLEL_WHY_H
#define MT_PARALLEL_WHY_H

#include "parallel/planner.h"

struct mt_why;
int mt_why_new(const struct mt_cluster *c, struct mt_why **out);
void mt_why_free(struct mt_why *w);
/* A layout was simulated. */
int mt_why_tried(struct mt_why *w, const struct mt_layout *l, const struct mt_forecast *f);
/* The reasons for p->layout, to p->reason. */
int mt_why_lines(struct mt_why *w, struct mt_planned *p);
/* Raises MOTLEY_ECONFIG: nothing fits, and what came nearest. */
int mt_why_nothing(const struct mt_why *w, const struct mt_plan_wish *wish);

/* A layout in words, as short as may be: "2 x 1 rank of H200, 4 stages of A100". Adds to text. */
struct mt_text;
void mt_why_shape(const struct mt_cluster *c, const struct mt_layout *l, struct mt_text *out);

#endif

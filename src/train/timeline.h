/* timeline.h -- the timeline of all processes of a job, as one file. */
#ifndef MT_TRAIN_TIMELINE_H
#define MT_TRAIN_TIMELINE_H

#include "train/job.h"

/* From here on events are kept. A device that is open already keeps no times: refused. A second
 * call changes nothing. Collective. */
int mt_timeline_start(struct mt_job *job);

/* What happened so far, of all processes, as one file; rank 0 writes. Collective. */
int mt_timeline_save(struct mt_job *job, const char *path);

void mt_timeline_end(struct mt_job *job);   /* after the device is closed */

#endif

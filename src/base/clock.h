/* clock.h -- processor time. Clock time is mt_trace_now (trace.h). */
#ifndef MT_BASE_CLOCK_H
#define MT_BASE_CLOCK_H

/* Seconds of processor time of the calling thread; of all threads of the process. A reading is a
 * system call (a third of a microsecond). */
double mt_clock_thread(void);
double mt_clock_process(void);

#endif

/* report.h -- what `motley devices` prints: every device of this machine, as a table or as JSON. */
#ifndef MT_DEVICE_REPORT_H
#define MT_DEVICE_REPORT_H

struct mt_ctx;

enum mt_report_form { MT_REPORT_TEXT = 0, MT_REPORT_JSON };

/* Asks for the devices and describes them, in the order in which processes take them. Where there
 * is none, the text says why and what to do; JSON has it as "explanation" beside an empty list.
 * Gives *out (mt_free), which ends in a newline. */
int mt_dev_report(struct mt_ctx *ctx, enum mt_report_form form, char **out);

#endif

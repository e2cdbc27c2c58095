/* embedded.h -- the text of the kernel files in cl/, as compiled into the library. */
#ifndef MT_DEVICE_EMBEDDED_H
#define MT_DEVICE_EMBEDDED_H

/* name: as in cl/ ("linear.cl", "motley.clh"); text: the file, NUL-terminated. */
struct mt_embedded {
    const char *name, *text;
};

extern const struct mt_embedded mt_embedded[];   /* ends in {NULL, NULL}; made by cl2c.sh */

#endif

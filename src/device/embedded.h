/* embedded.h -- the kernel files of cl/ as they were when the library was built.
 *
 * build-aux/cl2c.sh writes the table. cl/relu.cl is "relu", cl/motley.clh is "motley.clh". */
#ifndef MT_DEVICE_EMBEDDED_H
#define MT_DEVICE_EMBEDDED_H

struct mt_embedded {
    const char *name;            /* NULL: end of the table */
    const unsigned char *text;
    unsigned long bytes;
};

extern const struct mt_embedded mt_embedded[];

#endif

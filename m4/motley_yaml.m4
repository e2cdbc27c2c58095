# motley_yaml.m4 -- libfyaml, the YAML parser that keeps line and column of everything.

AC_DEFUN([MOTLEY_YAML],
[MOTLEY_LIB([yaml], [YAML], [libfyaml], [-lfyaml], [libfyaml.h],
    [return fy_library_version() == 0;], [libfyaml-dev])])

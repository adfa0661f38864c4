/* Stub: what OpenBSD has beyond the headers at hand. */
#include_next <unistd.h>

int	 pledge(const char *, const char *);
int	 unveil(const char *, const char *);

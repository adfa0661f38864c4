#include <string.h>
#include <strings.h>

#include "dstmd/dstmd.h"

static const struct {
	uint32_t	 bit;
	const char	*name;
} mechs[] = {
	{ MECH_ANONYMOUS,	"ANONYMOUS" },
	{ MECH_SCRAM_SHA_256,	"SCRAM-SHA-256" },
};
#define NMECH	(sizeof(mechs) / sizeof(mechs[0]))

const char *
mech_name(uint32_t bit)
{
	size_t i;

	for (i = 0; i < NMECH; i++)
		if (mechs[i].bit == bit)
			return (mechs[i].name);
	return (NULL);
}

uint32_t
mech_bit(const char *name)
{
	size_t i;

	for (i = 0; i < NMECH; i++)
		if (strcasecmp(mechs[i].name, name) == 0)
			return (mechs[i].bit);
	return (0);
}

int
name_valid(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	    "abcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t n;

	n = strspn(name, allowed);
	if (n == 0 || n > NAME_MAX_LEN || name[n] != '\0')
		return (0);
	/* It is the identity of those who have none. */
	return (strcasecmp(name, "anonymous") != 0);
}

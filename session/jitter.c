/* Times that are not all the same, so that peers do not come at once. */
#include <stdlib.h>

#include "session/session-int.h"

int64_t
jitter(int64_t ms)
{
	int64_t span = ms / 5;

	if (span <= 0)
		return (ms);
	if (span > INT32_MAX)
		span = INT32_MAX;
	return (ms - span / 2 + arc4random_uniform((uint32_t)span));
}

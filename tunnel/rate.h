/*
 * The rate of a lease, one way: for the tunnel process and for the BPF programs
 * alike, in plain C. `busy' is when all that has passed would be through a
 * line of that rate, in ns of the clock of `now'; 0: nothing has. So a quarter
 * of a second's worth passes at once, and whatever its last packet has more.
 *
 * Processors that meet may each let a packet pass where there was room for
 * one: nobody waits for a lock.
 */
#ifndef TUNNEL_RATE_H
#define TUNNEL_RATE_H

#define RATE_SECOND	1000000000ULL	/* ns */
#define RATE_BURST	(RATE_SECOND / 4)

/*
 * So many octets, 1 GB at most, of a lease that has so many bits a second;
 * 0: as many as there are. 1 they pass, and are counted; or 0.
 */
static inline int
rate_take(unsigned long long *busy, unsigned long long bits,
    unsigned long long octets, unsigned long long now)
{
	unsigned long long was, cost;

	if (bits == 0)
		return (1);
	was = *(volatile unsigned long long *)busy;
	if (was > now + RATE_BURST)
		return (0);
	cost = octets * (8 * RATE_SECOND) / bits;
	if (was < now)
		*(volatile unsigned long long *)busy = now + cost;
	else
		__sync_fetch_and_add(busy, cost);
	return (1);
}

#endif /* TUNNEL_RATE_H */

/* SPDX-License-Identifier: MIT */
/* Calls that only debug statements follow in their blocks. With -g and the plugin they once crashed GCC 12. */
struct item {
	int value;
};

struct origin {
	virtual ~origin() {}
	virtual bool ready() = 0;
	virtual void started(int) = 0;
};

struct loop {
	origin *from;
	int left;

	bool more() const { return left > 0; }
	item *find();
	bool run(int *result);
};

bool loop::run(int *result)
{
	int pending = 0, allowed = left;

	from->started(allowed);
	while (more()) {
		if (allowed && from->ready())
			if (item *found = find()) {
				int value = found->value;
			}
		if (pending)
			return *result;
	}
	return false;
}

int parts(origin *from, int n)
{
	int sum = 0;

	for (int i = 0; i < n; i++) {
		bool was = from->ready();
		int twice = i * 2;
		if (was)
			continue;
		from->started(twice);
		const int next = twice + 1;
	}
	return sum;
}

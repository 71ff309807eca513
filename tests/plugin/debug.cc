/* SPDX-License-Identifier: MIT */
/* Calls that end their blocks but for debug statements: GCC 12 died of them, with -g and the plugin. */
struct item {
	int value;
};

struct source {
	virtual ~source() {}
	virtual bool ready() = 0;
	virtual void started(int) = 0;
};

struct loop {
	source *from;
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

int parts(source *from, int n)
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

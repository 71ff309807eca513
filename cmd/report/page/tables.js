// ---- tables that can be sorted and searched ----

const ROWS = 500;

// columns: [title, value of a row, text of the value; without it the value is a text].
function table(box, search, columns, rows) {
	const state = { sort: -1, down: true, all: false, rows };
	const draw = () => {
		const wanted = search.value.toLowerCase();
		let list = state.rows.filter((row) => columns.some(([, value]) => String(value(row)).toLowerCase().includes(wanted)));
		if (state.sort >= 0) {
			const value = columns[state.sort][1], sign = state.down ? -1 : 1;
			list = list.slice().sort((a, b) => { const [x, y] = [value(a), value(b)]; return sign * (x < y ? -1 : x > y ? 1 : 0); });
		}
		const head = element('tr', {}, ...columns.map(([title, , text], i) => element('th', {
			class: text ? 'number' : '', scope: 'col', tabindex: '0', 'aria-sort': state.sort !== i ? 'none' : state.down ? 'descending' : 'ascending',
			text: title + (state.sort !== i ? '' : state.down ? ' ▾' : ' ▴'),
			onclick: () => { state.down = state.sort === i ? !state.down : Boolean(text); state.sort = i; draw(); },
			onkeydown: (event) => { if (event.key === 'Enter') event.target.click(); },
		})));
		const body = list.slice(0, state.all ? list.length : ROWS).map((row) => element('tr', {}, ...columns.map(([, value, text, draws]) =>
			draws ? element('td', {}, draws(row)) : element('td', text ? { class: 'number', text: text(value(row)) } : { text: value(row) }))));
		const more = list.length - body.length;
		box.replaceChildren(element('table', {}, element('thead', {}, head), element('tbody', {}, ...body)));
		if (!list.length) box.append(element('p', { class: 'dim', text: 'No row matches.' }));
		if (more > 0) box.append(element('button', { text: `Show ${number(more)} more rows`, onclick: () => { state.all = true; draw(); } }));
	};
	search.addEventListener('input', draw);
	draw();
	return (next) => { state.rows = next; draw(); };
}

// A small curve.
function curve(counts) {
	const ns = 'http' + '://www.w3.org/2000/svg', svg = document.createElementNS(ns, 'svg'), line = document.createElementNS(ns, 'polyline');
	const most = Math.max(...counts, 1), last = Math.max(counts.length - 1, 1);
	svg.setAttribute('class', 'line');
	svg.setAttribute('viewBox', '0 0 100 20');
	svg.setAttribute('preserveAspectRatio', 'none');
	line.setAttribute('points', counts.map((n, i) => `${(i / last * 100).toFixed(1)},${(19 - 18 * n / most).toFixed(1)}`).join(' '));
	svg.append(line);
	return svg;
}

function tablesStart() {
	const seconds = span / 1e9, records = (p) => p.records;
	table(find('probes'), find('probes-search'), [
		['Probe', (p) => p.probe],
		['Records', records, number],
		['Per second', (p) => p.records / seconds, (n) => number(n)],
		['Share', (p) => p.records / (report.records || 1), (n) => percent(n, 1)],
		['Over time', records, number, (p) => curve(p.over_time)],
	], report.probes.filter(records).sort((a, b) => b.records - a.records));

	const known = (key) => (c) => (c.duration ? c.duration[key] : -1), time = (n) => (n < 0 ? '' : duration(n));
	const who = (c) => (c.comm === undefined ? '' : `${c.comm} ${c.tid === undefined ? c.pid : c.tid}${c.host && report.processes.some((p) => p.host !== c.host) ? ' on ' + c.host : ''}`);
	const calls = [
		['Calls of', (c) => c.function], ['By', who],
		['Ended', (c) => c.ended, number], ['Uncertain', (c) => c.uncertain, number], ['Not ended', (c) => c.unended, number],
		['In flight', (c) => c.in_flight, number], ['No entry', (c) => c.unmatched, number],
		['p50', known('p50'), time], ['p90', known('p90'), time], ['p99', known('p99'), time], ['p99.9', known('p999'), time], ['Longest', known('max'), time],
		['Sum', known('sum'), time], ['Self', (c) => c.self, time],
	];
	const set = table(find('calls'), find('calls-search'), calls, report.calls);
	find('calls-by').addEventListener('change', () => set(report[find('calls-by').value]));
	find('calls-section').hidden = !report.calls.length;

	const shown = (v) => (v.value === null ? '(fault)' : (v.name === undefined ? '' : v.name + ' = ') + v.value + (v.cut ? '…' : ''));
	const values = report.probes.flatMap((p) => p.arguments.flatMap((a) => a.values.map((v) => ({ probe: p.probe, name: a.name, text: shown(v), count: v.count, most: v.count_max, all: a.count }))
		.concat(a.other ? [{ probe: p.probe, name: a.name, text: '(other)', count: a.other, most: a.other, all: a.count }] : [])));
	table(find('values'), find('values-search'), [
		['Probe', (v) => v.probe], ['Argument', (v) => v.name], ['Value', (v) => v.text],
		['Count', (v) => v.count, number], ['At most', (v) => v.most, number], ['Share', (v) => v.count / v.all, (n) => percent(n, 1)],
	], values);
	find('values-section').hidden = !values.length;

	table(find('threads'), find('threads-search'), [
		['Thread', (t) => t.comm], ['tid', (t) => t.tid, String], ['pid', (t) => t.pid, String], ['Host', (t) => t.host || ''], ['Records', records, number],
	], report.threads.filter(records).sort((a, b) => b.records - a.records));
}

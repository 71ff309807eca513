// ---- what the trace is, and the start ----

function factsStart() {
	const fact = (name, text, bad) => find('facts').append(element('span', bad ? { class: 'bad' } : {}, name + ' ', element('b', { text })));
	find('traces').textContent = report.traces.join(', ');
	document.title = 'probe-report ' + report.traces.join(', ');
	fact('Records', number(report.records));
	fact('Lost', number(report.lost) + (report.lost_unknown ? ' and an unknown number' : ''), report.lost || report.lost_unknown);
	if (report.records) {
		fact('From', clock(0) + ' UTC');
		fact('Time', duration(span));
		fact('Per second', number(report.records / (span / 1e9)));
	}
	fact('Processes', number(report.processes.length));
	fact('Threads', number(report.threads.length));
	const notice = (text) => find('notices').append(element('p', { class: 'bad', text }));
	if (report.interrupted) notice('The reading was interrupted: the report is of the first records only.');
	for (const text of report.damage) notice(text);
	if (report.left_out) notice(`${number(report.left_out)} calls are left out, because too many were in flight.`);
	if (report.fields_left_out) notice(`${number(report.fields_left_out)} fields of records are left out.`);
	if (data.losses_all > data.losses.length) notice(`The time line marks the first ${number(data.losses.length)} of ${number(data.losses_all)} losses.`);
}

factsStart();
tablesStart();
timelineStart();
heatStart();
flameStart();
window.addEventListener('resize', later(() => {
	if (timeline.all.length) timelineDraw();
	if (data.heat.length) heatDraw();
	if (flame.root) flameDraw();
}));
document.documentElement.dataset.ready = `${report.records} records`;

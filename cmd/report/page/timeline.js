// ---- time line: a lane for each thread, with its records over time and its calls ----

const STATUS = ['', 'uncertain: it may have ended at another return', 'not ended: left without a return, or in flight'];
const ROW = 15, STRIP = 14, DEPTHS = 48;

function makeLanes() {
	const slices = data.slices, lanes = new Map();
	const lane = (thread) => {
		if (!lanes.has(thread)) lanes.set(thread, { thread, from: 0, to: 0, depth: 0, rate: null });
		return lanes.get(thread);
	};
	for (let i = 0; i < slices.begin.length; i++) {
		const l = lane(slices.thread[i]);
		if (!l.to) l.from = i;
		l.to = i + 1;
		l.depth = Math.max(l.depth, Math.min(slices.depth[i] + 1, DEPTHS));
	}
	for (const [thread, width, ...counts] of data.rates) lane(thread).rate = { width, counts, most: Math.max(...counts) };
	const order = (a, b) => data.threads[a.thread][0] - data.threads[b.thread][0] || data.threads[a.thread][1] - data.threads[b.thread][1];
	const list = [...lanes.values()].sort(order);
	for (const l of list) {
		const [process, tid, comm] = data.threads[l.thread];
		const p = report.processes[process] || {};
		l.name = `${comm || '?'} ${tid}` + (p.pid === tid ? '' : ` of ${p.comm || ''} ${p.pid}`) + (p.host && report.processes.some((q) => q.host !== p.host) ? ` on ${p.host}` : '');
		l.height = STRIP + ROW * l.depth + 4;
	}
	return list;
}

const timeline = { all: makeLanes(), shown: [], from: 0, to: span, drag: null };

function timelineMove(from, to) {
	const width = Math.min(Math.max(to - from, 100), span);
	timeline.from = Math.min(Math.max(from, 0), span - width);
	timeline.to = timeline.from + width;
	timelineDraw();
}

function timelineStep(what) {
	const { from, to } = timeline, width = to - from, middle = (from + to) / 2;
	if (what === 'in') timelineMove(middle - width / 4, middle + width / 4);
	if (what === 'out') timelineMove(middle - width, middle + width);
	if (what === 'left') timelineMove(from - width / 3, to - width / 3);
	if (what === 'right') timelineMove(from + width / 3, to + width / 3);
	if (what === 'all') timelineMove(0, span);
}

const toX = (t, width) => (t - timeline.from) / (timeline.to - timeline.from) * width;
const toTime = (x, width) => timeline.from + x / width * (timeline.to - timeline.from);

function drawRate(context, counts, step, most, width, top, height) {
	for (let i = 0; i < counts.length; i++) {
		if (!counts[i]) continue;
		const x = toX(i * step, width), end = toX((i + 1) * step, width);
		if (end < 0 || x > width) continue;
		const h = Math.max(counts[i] / most * height, 1);
		context.fillRect(x, top + height - h, Math.max(end - x - 0.3, 0.7), h);
	}
}

function drawLosses(context, width, height) {
	context.fillStyle = style('--mark');
	for (const [begin, end] of data.losses) {
		const x = toX(begin, width), to = toX(end, width);
		if (to < 0 || x > width) continue;
		context.globalAlpha = 0.18;
		context.fillRect(x, 0, Math.max(to - x, 1.5), height);
	}
	context.globalAlpha = 1;
}

function drawRuler() {
	const [context, width, height] = prepare(find('ruler').firstElementChild, 64);
	const counts = report.probes.reduce((sum, p) => p.over_time.map((n, i) => n + (sum[i] || 0)), []);
	const most = Math.max(...counts, 1), step = 10 ** Math.floor(Math.log10((timeline.to - timeline.from) / 3));
	context.fillStyle = style('--bar');
	drawRate(context, counts, report.interval, most, width, 18, height - 20);
	drawLosses(context, width, height);
	context.fillStyle = style('--dim');
	const wide = (timeline.to - timeline.from) / step > 12 ? 5 * step : step;
	for (let t = Math.ceil(timeline.from / wide) * wide; t <= timeline.to; t += wide) {
		const x = toX(t, width);
		context.fillRect(x, 0, 0.6, height);
		context.fillText('+' + duration(t), x + 3, 8);
	}
	const rate = `at most ${number(most / (report.interval || 1) * 1e9)} records/s`;
	title(context, rate, width - context.measureText(rate).width - 6, 24);
	if (timeline.drag) {
		context.globalAlpha = 0.25;
		context.fillRect(Math.min(timeline.drag.x, timeline.drag.now), 0, Math.abs(timeline.drag.now - timeline.drag.x), height);
		context.globalAlpha = 1;
	}
}

function drawLane(context, lane, top, width) {
	const s = data.slices, last = new Float64Array(DEPTHS).fill(-1);
	if (lane.rate) {
		context.fillStyle = style('--bar');
		drawRate(context, lane.rate.counts, lane.rate.width, lane.rate.most, width, top, STRIP - 2);
	}
	for (let i = lane.from; i < lane.to; i++) {
		const x = toX(s.begin[i], width), end = toX(s.begin[i] + s.duration[i], width), depth = s.depth[i];
		if (end < 0 || x > width || depth >= DEPTHS) continue;
		if (end - x < 0.7 && x - last[depth] < 0.7) continue;
		last[depth] = end;
		const left = Math.max(x, -2), w = Math.max(Math.min(end, width + 2) - left, 0.7), y = top + STRIP + depth * ROW;
		context.globalAlpha = s.status[i] ? 0.45 : 1;
		context.fillStyle = colour(nameOf(s.function[i]));
		context.fillRect(left, y, w, ROW - 1);
		context.globalAlpha = 1;
		context.fillStyle = '#111';
		label(context, nameOf(s.function[i]), Math.max(left, 0), y + ROW / 2, w);
	}
	context.fillStyle = style('--text');
	title(context, lane.name, 4, top + STRIP / 2);
	context.fillStyle = style('--line');
	context.fillRect(0, top + lane.height - 1, width, 0.6);
}

function drawLanes() {
	const box = find('lanes'), total = timeline.shown.reduce((sum, l) => sum + l.height, 0);
	const height = Math.max(Math.min(total, Math.round(window.innerHeight * 0.6)), 20);
	const [context, width] = prepare(box.firstElementChild, height);
	box.lastElementChild.style.height = Math.max(total - height, 0) + 'px';
	let top = -box.scrollTop;
	for (const lane of timeline.shown) {
		if (top + lane.height > 0 && top < height) drawLane(context, lane, top, width);
		top += lane.height;
	}
	drawLosses(context, width, height);
	find('range').textContent = `${clock(timeline.from)} to ${clock(timeline.to)} UTC, ${duration(timeline.to - timeline.from)}`;
}

const timelineDraw = later(() => { drawRuler(); drawLanes(); });

function timelineChoose() {
	const wanted = find('thread-search').value.toLowerCase();
	timeline.shown = timeline.all.filter((l) => l.name.toLowerCase().includes(wanted));
	timelineDraw();
}

// Returns the text about what is at a place of the lanes.
function timelineAt(x, y, width) {
	const t = toTime(x, width), s = data.slices, near = (timeline.to - timeline.from) / width;
	let top = -find('lanes').scrollTop;
	for (const lane of timeline.shown) {
		if (y >= top && y < top + lane.height) {
			const depth = Math.floor((y - top - STRIP) / ROW);
			for (let i = lane.from; i < lane.to; i++) {
				if (s.depth[i] !== depth || t < s.begin[i] - near || t > s.begin[i] + s.duration[i] + near) continue;
				return `${nameOf(s.function[i])}\n${s.status[i] ? STATUS[s.status[i]] + ', after ' : ''}${duration(s.duration[i])}\nfrom ${clock(s.begin[i])} (+${duration(s.begin[i])})\n${lane.name}, depth ${depth}`;
			}
			const r = lane.rate, i = r ? Math.floor(t / r.width) : 0;
			return `${lane.name}\n${clock(t)}` + (r ? `\n${number(r.counts[i] || 0)} records in ${duration(r.width)}` : '');
		}
		top += lane.height;
	}
	return '';
}

function timelineStart() {
	if (!timeline.all.length) {
		find('timeline-section').hidden = true;
		return;
	}
	const kept = data.slices.begin.length, dropped = data.slices.dropped;
	find('slices-note').textContent = dropped ? `The time line shows the ${number(kept)} longest of ${number(kept + dropped)} calls. All others are shorter than these.` : '';
	for (const button of document.querySelectorAll('[data-move]')) button.addEventListener('click', () => timelineStep(button.dataset.move));
	find('thread-search').addEventListener('input', timelineChoose);
	const box = find('lanes');
	box.addEventListener('scroll', timelineDraw);
	box.addEventListener('keydown', (event) => {
		const step = { w: 'in', s: 'out', a: 'left', d: 'right' }[event.key];
		if (step && !event.ctrlKey && !event.metaKey && !event.altKey) timelineStep(step);
	});
	for (const canvas of [find('ruler').firstElementChild, box.firstElementChild]) {
		const at = (event) => event.clientX - canvas.getBoundingClientRect().left;
		canvas.addEventListener('pointerdown', (event) => {
			timeline.drag = { x: at(event), now: at(event) };
			canvas.setPointerCapture(event.pointerId);
		});
		canvas.addEventListener('pointermove', (event) => {
			const area = canvas.getBoundingClientRect();
			if (timeline.drag) {
				timeline.drag.now = at(event);
				timelineDraw();
			}
			hint(event, canvas.parentElement === box ? timelineAt(at(event), event.clientY - area.top, area.width) : clock(toTime(at(event), area.width)));
		});
		canvas.addEventListener('pointerup', (event) => {
			const { x } = timeline.drag || { x: 0 }, now = at(event), width = canvas.clientWidth;
			timeline.drag = null;
			if (Math.abs(now - x) > 4) timelineMove(toTime(Math.min(x, now), width), toTime(Math.max(x, now), width));
			else timelineDraw();
		});
		canvas.addEventListener('pointerleave', (event) => hint(event, ''));
		canvas.addEventListener('dblclick', () => timelineStep('all'));
		canvas.addEventListener('wheel', (event) => {
			if (!event.ctrlKey && !event.shiftKey) return;
			event.preventDefault();
			const t = toTime(at(event), canvas.clientWidth), scale = (event.deltaY || event.deltaX) > 0 ? 1.25 : 0.8;
			timelineMove(t - (t - timeline.from) * scale, t + (timeline.to - t) * scale);
		}, { passive: false });
	}
	timelineChoose();
}

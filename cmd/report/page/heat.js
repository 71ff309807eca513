// ---- heat map: durations over time ----

const heat = { map: null, rows: [0, 1] };

const heatRow = (canvas, y) => heat.rows[1] - Math.floor(y / canvas.clientHeight * (heat.rows[1] - heat.rows[0]));

function heatDraw() {
	const [context, width, height] = prepare(find('heatmap').firstElementChild, 260);
	const { cells, width: step } = heat.map;
	let most = 1, low = Infinity, high = 0;
	for (let i = 0; i < cells.length; i += 3) {
		low = Math.min(low, cells[i + 1]);
		high = Math.max(high, cells[i + 1]);
		most = Math.max(most, cells[i + 2]);
	}
	heat.rows = [low - 1, high];
	const tall = height / (high - low + 1), wide = Math.max(step / span * width, 1);
	for (let i = 0; i < cells.length; i += 3) {
		const share = Math.log(cells[i + 2] + 1) / Math.log(most + 1);
		context.fillStyle = `hsl(${48 - 48 * share} 90% ${78 - 40 * share}%)`;
		context.fillRect(cells[i] * step / span * width, height - (cells[i + 1] - low + 1) * tall, wide, tall);
	}
	context.fillStyle = style('--text');
	const every = Math.max(1, Math.ceil((high - low + 1) / 12));
	for (let row = low; row <= high; row += every) {
		const y = height - (row - low) * tall;
		title(context, duration(data.heat_rows[row]), 4, Math.min(y, height) - 7);
		context.globalAlpha = 0.25;
		context.fillRect(0, y - 0.5, width, 0.5);
		context.globalAlpha = 1;
	}
}

function heatAt(canvas, event) {
	const area = canvas.getBoundingClientRect(), { cells, width: step } = heat.map;
	const column = Math.floor((event.clientX - area.left) / area.width * span / step), row = heatRow(canvas, event.clientY - area.top);
	let count = 0;
	for (let i = 0; i < cells.length; i += 3) if (cells[i] === column && cells[i + 1] === row) count = cells[i + 2];
	return `${number(count)} calls of ${duration(data.heat_rows[row] || 0)} to ${duration(data.heat_rows[row + 1] || 0)}\nended from ${clock(column * step)} to ${clock((column + 1) * step)}`;
}

function heatChoose() {
	heat.map = data.heat[find('heat-function').value];
	const calls = report.calls.find((c) => c.function === nameOf(heat.map.function)), d = calls && calls.duration;
	find('heat-note').textContent = d ? `${number(d.count)} calls: p50 ${duration(d.p50)}, p90 ${duration(d.p90)}, p99 ${duration(d.p99)}, p99.9 ${duration(d.p999)}, longest ${duration(d.max)}` : '';
	heatDraw();
}

function heatStart() {
	const canvas = find('heatmap').firstElementChild, count = (h) => h.cells.reduce((sum, n, i) => sum + (i % 3 === 2 ? n : 0), 0);
	if (!data.heat.length) {
		find('heat-section').hidden = true;
		return;
	}
	data.heat.sort((a, b) => count(b) - count(a));
	data.heat.forEach((h, i) => find('heat-function').append(element('option', { value: i, text: nameOf(h.function) })));
	find('heat-function').addEventListener('change', heatChoose);
	canvas.addEventListener('pointermove', (event) => hint(event, heatAt(canvas, event)));
	canvas.addEventListener('pointerleave', (event) => hint(event, ''));
	heatChoose();
}

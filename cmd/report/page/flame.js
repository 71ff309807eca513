// ---- flame graph: the time in each stack of calls ----

const FRAME = 17;

function makeFrames() {
	const nodes = new Map(), list = [];
	for (let i = 0; i < data.frames.length; i += 5) {
		const [id, parent, fn, total, self] = data.frames.slice(i, i + 5);
		const node = { name: i ? nameOf(fn) : 'all calls', total, self, children: [], parent: null, depth: 0 };
		nodes.set(id, node);
		list.push(node);
		if (!i) continue;
		node.parent = nodes.get(parent);
		node.depth = node.parent.depth + 1;
		node.parent.children.push(node);
	}
	for (const node of list) node.children.sort((a, b) => b.total - a.total);
	return list;
}

const flame = { frames: makeFrames(), root: null, placed: [], wanted: '' };

// Places a frame and those on it, as wide as their time. Returns the deepest level.
function flamePlace(node, x, width, level) {
	let deepest = level;
	flame.placed.push({ node, x, width, level });
	for (const child of node.children) {
		const w = width * child.total / node.total;
		if (w >= 0.4) deepest = Math.max(deepest, flamePlace(child, x, w, level + 1));
		x += w;
	}
	return deepest;
}

function flameMatched(node) {
	if (flame.wanted && node.name.toLowerCase().includes(flame.wanted)) return node.total;
	return node.children.reduce((sum, child) => sum + flameMatched(child), 0);
}

function flameDraw() {
	const canvas = find('flame').firstElementChild, above = [];
	flame.placed = [];
	for (let node = flame.root.parent; node; node = node.parent) above.unshift(node);
	above.forEach((node, level) => flame.placed.push({ node, x: 0, width: canvas.parentElement.clientWidth, level, above: true }));
	const levels = flamePlace(flame.root, 0, canvas.parentElement.clientWidth, above.length) + 1;
	const [context] = prepare(canvas, levels * FRAME + 2);
	for (const { node, x, width, level, above: dim } of flame.placed) {
		context.globalAlpha = dim || (flame.wanted && !node.name.toLowerCase().includes(flame.wanted)) ? 0.35 : 1;
		context.fillStyle = node.parent ? colour(node.name) : style('--line');
		context.fillRect(x, level * FRAME, Math.max(width - 0.5, 0.4), FRAME - 1);
		context.fillStyle = node.parent ? '#111' : style('--text');
		label(context, node.name, x, level * FRAME + FRAME / 2, width);
	}
	context.globalAlpha = 1;
	const left = data.frames_left_out ? ` ${number(data.frames_left_out)} small stacks are left out.` : '';
	find('flame-note').textContent = (flame.wanted ? `${percent(flameMatched(flame.frames[0]), flame.frames[0].total)} of the time is in calls that match.` : `${duration(flame.frames[0].total)} in all threads.`) + left;
}

function flameAt(canvas, event) {
	const area = canvas.getBoundingClientRect(), x = event.clientX - area.left, level = Math.floor((event.clientY - area.top) / FRAME);
	return flame.placed.find((p) => p.level === level && x >= p.x && x < p.x + p.width);
}

function flameStart() {
	const canvas = find('flame').firstElementChild;
	if (flame.frames.length < 2) {
		find('flame-section').hidden = true;
		return;
	}
	flame.root = flame.frames[0];
	canvas.addEventListener('click', (event) => {
		const found = flameAt(canvas, event);
		if (!found) return;
		flame.root = found.node;
		flameDraw();
	});
	canvas.addEventListener('pointermove', (event) => {
		const found = flameAt(canvas, event), all = flame.frames[0].total;
		hint(event, found ? `${found.node.name}\n${duration(found.node.total)}, ${percent(found.node.total, all)}\nself ${duration(found.node.self)}, ${percent(found.node.self, all)}` : '');
	});
	canvas.addEventListener('pointerleave', (event) => hint(event, ''));
	find('flame-search').addEventListener('input', () => {
		flame.wanted = find('flame-search').value.toLowerCase();
		flameDraw();
	});
	find('flame-all').addEventListener('click', () => {
		flame.root = flame.frames[0];
		flameDraw();
	});
	flameDraw();
}

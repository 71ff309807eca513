// SPDX-License-Identifier: MIT
// Uses everything on the page that can be used. An error appears in the browser's log.
window.requestAnimationFrame = (draw) => setTimeout(draw, 1); // without a screen there are no frames
const wait = () => new Promise((done) => setTimeout(done, 5));
const move = (canvas, type, x, y) => {
	const area = canvas.getBoundingClientRect();
	canvas.dispatchEvent(new PointerEvent(type, { clientX: area.left + x * area.width, clientY: area.top + y * area.height, pointerId: 1, bubbles: true }));
};
HTMLCanvasElement.prototype.setPointerCapture = () => {};
(async () => {
	for (const step of ['in', 'in', 'right', 'in', 'left', 'out', 'all', 'in']) { timelineStep(step); await wait(); }
	for (const canvas of document.querySelectorAll('canvas')) {
		for (let i = 0; i < 40; i++) move(canvas, 'pointermove', Math.random(), Math.random());
		if (canvas.closest('section').hidden) continue;
		move(canvas, 'pointerdown', 0.2, 0.5);
		move(canvas, 'pointermove', 0.6, 0.5);
		move(canvas, 'pointerup', 0.6, 0.5);
		move(canvas, 'pointerleave', 0.6, 0.5);
		canvas.dispatchEvent(new MouseEvent('click', { clientX: canvas.getBoundingClientRect().left + 5, clientY: canvas.getBoundingClientRect().top + 25 }));
		canvas.dispatchEvent(new WheelEvent('wheel', { ctrlKey: true, deltaY: -100, cancelable: true }));
		canvas.dispatchEvent(new MouseEvent('dblclick'));
		await wait();
	}
	for (const input of document.querySelectorAll('input')) {
		for (const text of ['e', 'no such thing', '']) { input.value = text; input.dispatchEvent(new Event('input')); await wait(); }
	}
	for (const select of document.querySelectorAll('select')) {
		for (const option of select.options) { select.value = option.value; select.dispatchEvent(new Event('change')); await wait(); }
	}
	for (let i = 0; i < document.querySelectorAll('th').length; i++) document.querySelectorAll('th')[i].click();
	window.dispatchEvent(new Event('resize'));
	await wait();
	if (!document.documentElement.dataset.ready) throw new Error('the page is not ready');
	document.documentElement.dataset.tested = 'yes';
})();

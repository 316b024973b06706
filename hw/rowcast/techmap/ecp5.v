// What Yosys cannot see by itself, as cells of ECP5: `techmap -map` this before `synth_ecp5`.
//
// A carry cell adds f(A, B) and g(C, D) if g(0, 0) = 0: its LUT is f ^ g, and the carry where that is 0 is what the LUT
// says for C = D = 0, f.  So two products of a bit with eight bits are added in the LUTs that make them.

(* techmap_celltype = "rowcast_pair_product" *)
module rowcast_map_pair_product(input [7:0] a, input [1:0] b, output [9:0] p);
  wire [10:0] x = {{3{a[7]}}, a}, twice = {{2{a[7]}}, a, 1'b0};
  wire [5:0] carry;
  assign carry[0] = 1'b0;
  genvar i;
  generate for (i = 0; i < 5; i = i + 1) begin : bits
    // f = x & b[0], g = twice & b[1]
    CCU2C #(.INIT0(16'h7888), .INIT1(16'h7888), .INJECT1_0("NO"), .INJECT1_1("NO")) sum (
      .CIN(carry[i]), .COUT(carry[i + 1]), .S0(p[2 * i]), .S1(p[2 * i + 1]),
      .A0(x[2 * i]), .B0(b[0]), .C0(twice[2 * i]), .D0(b[1]),
      .A1(x[2 * i + 1]), .B1(b[0]), .C1(twice[2 * i + 1]), .D1(b[1])
    );
  end endgenerate
endmodule

(* techmap_celltype = "rowcast_pair_product_signed" *)
module rowcast_map_pair_product_signed(input [7:0] a, input [1:0] b, output [9:0] p);
  wire [10:0] x = {{3{a[7]}}, a}, twice = {{2{a[7]}}, a, 1'b0};
  wire [5:0] carry;
  assign carry[0] = 1'b1;
  genvar i;
  generate for (i = 0; i < 5; i = i + 1) begin : bits
    // f = ~(twice & b[1]), g = x & b[0], and 1
    CCU2C #(.INIT0(16'h8777), .INIT1(16'h8777), .INJECT1_0("NO"), .INJECT1_1("NO")) difference (
      .CIN(carry[i]), .COUT(carry[i + 1]), .S0(p[2 * i]), .S1(p[2 * i + 1]),
      .A0(twice[2 * i]), .B0(b[1]), .C0(x[2 * i]), .D0(b[0]),
      .A1(twice[2 * i + 1]), .B1(b[1]), .C1(x[2 * i + 1]), .D1(b[0])
    );
  end endgenerate
endmodule

(* techmap_celltype = "rowcast_masked_sum" *)
module rowcast_map_masked_sum(input [31:0] a, input a_enable, input [31:0] b, output [31:0] sum);
  wire [16:0] carry;
  assign carry[0] = 1'b0;
  genvar i;
  generate for (i = 0; i < 16; i = i + 1) begin : bits
    // f = b, g = a & a_enable
    CCU2C #(.INIT0(16'h5AAA), .INIT1(16'h5AAA), .INJECT1_0("NO"), .INJECT1_1("NO")) sum_cell (
      .CIN(carry[i]), .COUT(carry[i + 1]), .S0(sum[2 * i]), .S1(sum[2 * i + 1]),
      .A0(b[2 * i]), .B0(1'b0), .C0(a[2 * i]), .D0(a_enable),
      .A1(b[2 * i + 1]), .B1(1'b0), .C1(a[2 * i + 1]), .D1(a_enable)
    );
  end endgenerate
endmodule
